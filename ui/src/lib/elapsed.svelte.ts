/** Milliseconds since the component came up, ticking while it is there. */
export function elapsed(everyMs = 250): { readonly ms: number } {
  const start = performance.now();
  let ms = $state(0);
  $effect(() => {
    const timer = setInterval(() => (ms = performance.now() - start), everyMs);
    return () => clearInterval(timer);
  });
  return {
    get ms() {
      return ms;
    },
  };
}
