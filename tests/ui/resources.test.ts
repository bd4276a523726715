import { axeViolations } from "./axe";
import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import {
  answers,
  calls,
  field,
  miss,
  open,
  see,
  send,
  until,
  type Theme,
} from "./harness";
import { cpuMachine, gpuMachine, oneSample } from "./machines";
import { chart, emit, figure, openResources, strip } from "./resources-page";
import { shelf, tides } from "./stories";

const failing = {
  code: "engine_failed" as const,
  message: "The sensors of this machine could not be read.",
  hint: "Try again. Answers are not affected.",
};

/** What the core was told of watching, in order. */
async function told(page: Page): Promise<string[]> {
  return page.evaluate(() =>
    window.__fake.calls
      .filter(({ command }) => /^resources_(un)?watch$/.test(command))
      .map(({ command, args }) =>
        command === "resources_watch" ? `watch ${args.intervalMs}` : "unwatch",
      ),
  );
}

/** Whether anything is drawn in a chart in just this colour. */
function paints(page: Page, title: string, variable: string) {
  return chart(page, title)
    .locator("canvas")
    .evaluate((canvas: HTMLCanvasElement, variable) => {
      const probe = document.createElement("canvas").getContext("2d");
      const own = canvas.getContext("2d");
      if (!probe || !own) return false;
      probe.fillStyle = getComputedStyle(document.documentElement)
        .getPropertyValue(variable)
        .trim();
      probe.fillRect(0, 0, 1, 1);
      const [r, g, b] = probe.getImageData(0, 0, 1, 1).data;
      const { data } = own.getImageData(0, 0, canvas.width, canvas.height);
      for (let i = 0; i < data.length; i += 4) {
        if (
          data[i + 3] === 255 &&
          data[i] === r &&
          data[i + 1] === g &&
          data[i + 2] === b
        )
          return true;
      }
      return false;
    }, variable);
}

async function hide(page: Page, hidden: boolean) {
  await page.evaluate((hidden) => {
    Object.defineProperty(document, "hidden", {
      value: hidden,
      configurable: true,
    });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
}

test("samples arrive and are shown, in the view and in the strip", async () => {
  const start = Date.now();
  const page = await openResources({
    resources: cpuMachine({ history: [], marks: [] }),
  });
  await see(page.getByText("Waiting for the first reading"));
  const cpu = (total_percent: number) => ({
    total_percent,
    cores_percent: [total_percent, total_percent],
    frequency_mhz: 3410,
    temperature_celsius: null,
  });
  await emit(page, oneSample(start, { cpu: cpu(31.4) }));
  await until(() => figure(page, "CPU", "All").innerText(), "31 %");
  await see(chart(page, "CPU").getByText("3.41 GHz", { exact: true }));
  await emit(page, oneSample(start + 1000, { cpu: cpu(87) }));
  await until(() => figure(page, "CPU", "All").innerText(), "87 %");
  await see(strip(page).getByText("87 %"));
  expect(await figure(page, "Memory", "Weights").innerText()).toBe("438 MiB");
  await until(() => paints(page, "CPU", "--series-cpu"), true);
  // What is read aloud changes every five seconds at most.
  await see(page.getByRole("row", { name: "CPU, All 31 %" }));
  await emit(page, oneSample(start + 5000, { cpu: cpu(62) }));
  await see(page.getByRole("row", { name: "CPU, All 62 %" }));
});

test("the machine is looked at only while something shows it", async () => {
  const page = await openResources();
  expect(await told(page)).toEqual(["watch 1000"]);
  await hide(page, true);
  await until(() => told(page), ["watch 1000", "unwatch"]);
  await hide(page, false);
  await until(() => told(page), ["watch 1000", "unwatch", "watch 1000"]);
  // Without the strip the view alone watches, and with it goes the watching.
  await page.getByRole("checkbox", { name: "In the strip" }).uncheck();
  await miss(strip(page).getByRole("button", { name: /Memory/ }));
  await page.keyboard.press("Control+1");
  await until(async () => (await told(page)).at(-1), "unwatch");
  await page.keyboard.press("Control+4");
  await until(async () => (await told(page)).at(-1), "watch 1000");
  await page.getByRole("combobox", { name: "Every" }).selectOption("0.5 s");
  await until(async () => (await told(page)).at(-1), "watch 500");
});

test("the strip leads to the view, and leaves the small window its room", async () => {
  const page = await open(
    { resources: gpuMachine() },
    { width: 800, height: 600 },
  );
  await see(strip(page).getByText("GPU"));
  const inside = await strip(page).evaluate(
    (node) => node.scrollWidth <= node.clientWidth,
  );
  expect(inside).toBe(true);
  await strip(page)
    .getByRole("button", { name: /Memory/ })
    .click();
  await see(page.getByRole("heading", { name: "Resources" }));
});

test("while an answer is written the strip has its speed once", async () => {
  const page = await open(
    {
      resources: cpuMachine(),
      reply: "tide ".repeat(400),
      tickMs: 100,
    },
    { width: 1000 },
  );
  await see(strip(page).getByText("Tokens"));
  await send(page, "Tell");
  await see(strip(page).locator(".rate"));
  // Without room for its line, nothing but the word would be left.
  await miss(strip(page).getByText("Tokens"));
  await page.setViewportSize({ width: 1280, height: 800 });
  await see(strip(page).getByText("Tokens"));
});

test("without a GPU it says so, and which look for one failed and why", async () => {
  const page = await openResources();
  await see(page.getByText("CPU mode: no accelerator found"));
  await page.getByText("What was looked for").click();
  await see(page.getByText("Not found: libnvidia-ml.so.1 is not installed"));
  expect(await page.getByText("In use", { exact: true }).count()).toBe(0);
  await miss(strip(page).getByText("GPU"));
});

test("each GPU has its charts, and what slows it down is written out", async () => {
  const page = await openResources({ resources: gpuMachine() });
  await see(page.getByRole("heading", { name: "GPU 0: NVIDIA RTX 4090" }));
  await see(page.getByRole("heading", { name: "GPU 1: NVIDIA RTX 3060" }));
  await see(page.getByText("Throttled: Power limit"));
  expect(await chart(page, "GPU memory").count()).toBe(2);
  await miss(page.getByText("CPU mode"));
  // One is taken out while it is looked at.
  const last = gpuMachine().history.at(-1);
  if (!last) throw new Error("the machine has no samples");
  await emit(page, {
    ...last,
    at_ms: (last.at_ms ?? 0) + 5000,
    gpus: last.gpus.slice(0, 1),
  });
  await see(page.getByText("Not there"));
  await miss(page.getByText("Throttled: Power limit"));
  expect(await figure(page, "In use", "GPU").last().innerText()).toBe("–");
});

test("a missing sensor is absent", async () => {
  const page = await openResources({
    resources: cpuMachine({
      history: [
        oneSample(Date.now(), { disk: null, network: null, engine: null }),
      ],
    }),
  });
  await see(chart(page, "Memory"));
  for (const title of ["Disk", "Network", "Writing", "Reading", "Battery"]) {
    expect(await chart(page, title).count(), title).toBe(0);
  }
  await page.getByRole("button", { name: "Cores" }).click();
  await see(chart(page, "Cores"));
  expect(await chart(page, "Temperature").count()).toBe(0);
});

test("an answer is marked on the time line, and leads to its conversation", async () => {
  const machine = cpuMachine();
  const page = await openResources({ stories: shelf, resources: machine });
  const marks = page.getByRole("button", { name: /^Open the conversation of/ });
  await until(() => marks.count(), 1);
  await page.getByRole("radio", { name: "10 min" }).check({ force: true });
  await until(() => marks.count(), 3);
  // Where the charts end, however long ago that was by now.
  const last = machine.history.at(-1)?.at_ms ?? NaN;
  await page.evaluate(
    (last) =>
      window.__fake.emit({
        type: "answer_marked",
        mark: {
          started_ms: last - 9000,
          ended_ms: last - 1000,
          conversation_id: "tides",
          message_id: "tides-a",
          tokens: 212,
        },
      }),
    last,
  );
  const mark = page.getByRole("button", { name: /212 tokens in 8\.00 s/ });
  await mark.hover();
  await see(page.locator(".tip", { hasText: "212 tokens in 8.00 s" }));
  await mark.click();
  await see(answers(page).getByText("Because the moon pulls"));
  expect(await page.getByText(tides.title).count()).toBeGreaterThan(0);
});

test("charts take the colours of the theme, also when it changes", async () => {
  const page = await openResources();
  await until(() => paints(page, "CPU", "--series-cpu"), true);
  await page.keyboard.press("Control+Shift+l");
  await until(
    () => page.evaluate(() => document.documentElement.dataset.theme),
    "dark",
  );
  await until(() => paints(page, "CPU", "--series-cpu"), true);
});

test("only what can be seen is drawn", async () => {
  const page = await openResources(
    { resources: gpuMachine() },
    { width: 800, height: 600 },
  );
  await see(page.locator("canvas"));
  const rows = await page.locator(".row").count();
  expect(rows).toBeGreaterThan(10);
  expect(await page.locator("canvas").count()).toBeLessThan(rows / 2);
  await page.getByRole("region", { name: "Network" }).scrollIntoViewIfNeeded();
  await see(chart(page, "Network").locator("canvas"));
  await until(() => chart(page, "CPU").locator("canvas").count(), 0);
});

test("what cannot be read is said, and tried again", async () => {
  const page = await openResources({ failures: { resources_watch: failing } });
  await see(page.getByRole("alert").getByText(failing.message));
  await see(strip(page).getByText("No readings"));
  await page.evaluate(() => (window.__fake.options.failures = {}));
  await page.getByRole("button", { name: "Try again" }).click();
  await see(chart(page, "CPU"));
  await miss(page.getByRole("alert"));
});

test("the interval and the range are remembered", async () => {
  const page = await openResources();
  await page.getByRole("combobox", { name: "Every" }).selectOption("5 s");
  await page.getByRole("radio", { name: "5 min" }).check({ force: true });
  await page.reload();
  await see(field(page));
  await until(() => told(page), ["watch 5000"]);
  await page.keyboard.press("Control+4");
  await until(
    () => page.getByRole("radio", { name: "5 min" }).isChecked(),
    true,
  );
});

test("the palette leads to the resources", async () => {
  const page = await open({ resources: cpuMachine() });
  await see(field(page));
  await page.keyboard.press("Control+k");
  await page.keyboard.type("resou");
  await page.keyboard.press("Enter");
  await see(page.getByRole("heading", { name: "Resources" }));
  expect(await calls(page, "resources_probes")).toEqual([]);
});

test.each<Theme>(["light", "dark"])("nothing serious in %s", async (theme) => {
  const page = await openResources({ resources: gpuMachine() }, { theme });
  await see(page.locator("canvas"));
  expect(await axeViolations(page)).toEqual([]);
  await page.keyboard.press("+");
  await page.getByText("Sensors that were looked for").click();
  await see(page.getByText("driver 560.35"));
  expect(await axeViolations(page)).toEqual([]);
});
