/** Calls back when the frame that is being prepared has been painted; to be called in an animation frame. */
export function whenPainted(run: () => void): void {
  // A message is handled after the painting that follows the callbacks of a frame.
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    run();
  };
  port2.postMessage(null);
}
