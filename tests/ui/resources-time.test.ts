import { expect, test } from "vitest";
import { field, miss, see, until } from "./harness";
import { cpuMachine, gpuMachine, oneSample } from "./machines";
import { chart, emit, figure, openResources, strip } from "./resources-page";

test("held, the picture stands still while the machine goes on", async () => {
  const page = await openResources();
  await see(page.getByText("Live", { exact: true }));
  const before = await figure(page, "CPU", "All").innerText();
  await page.keyboard.press("Control+Shift+h");
  await see(page.getByText("Held", { exact: true }));
  const cpu = {
    total_percent: 3,
    cores_percent: [3, 3],
    frequency_mhz: null,
    temperature_celsius: null,
  };
  await emit(page, oneSample(Date.now() + 1000, { cpu }));
  await see(strip(page).getByText("3 %"));
  expect(await figure(page, "CPU", "All").innerText()).toBe(before);
  await page.getByRole("button", { name: "Go live" }).click();
  await until(() => figure(page, "CPU", "All").innerText(), "3 %");
});

test("the crosshair tells the figures of its moment in every legend", async () => {
  const machine = cpuMachine();
  const page = await openResources({ resources: machine });
  await see(page.locator(".u-over"));
  const shown = (ago: number) =>
    `${Math.round(machine.history.at(-1 - ago)?.cpu.total_percent ?? -1)} %`;
  const box = await page.locator(".u-over").first().boundingBox();
  if (!box) throw new Error("the chart is not to be seen");
  // Two minutes are shown: a quarter from the right is half a minute ago.
  await page.mouse.move(box.x + 0.75 * box.width, box.y + 20);
  await until(() => figure(page, "CPU", "All").innerText(), shown(30));
  expect(await figure(page, "Writing", "Decode").innerText()).toBe("–");
  const place = box.x + 0.75 * box.width;
  await until(
    () =>
      chart(page, "Memory")
        .locator(".u-cursor-x")
        .evaluate(
          // To a pixel: the line is drawn between two.
          (node, place) =>
            Math.abs(node.getBoundingClientRect().x - place) <= 1.5,
          place,
        ),
    true,
  );
  await page.mouse.move(600, 4);
  await until(() => figure(page, "CPU", "All").innerText(), shown(0));
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("Shift+ArrowLeft");
  await until(() => figure(page, "CPU", "All").innerText(), shown(10));
  await see(page.locator("caption", { hasText: "At the moment pointed at" }));
});

test("a moment without a reading tells nothing, and is let go once it is past", async () => {
  const machine = gpuMachine();
  const last = machine.history.at(-1);
  if (!last) throw new Error("the machine has no samples");
  const later = (ms: number) => ({ ...last, at_ms: (last.at_ms ?? 0) + ms });
  const page = await openResources({ resources: machine });
  await emit(page, later(60_000));
  const box = await page.locator(".u-over").first().boundingBox();
  if (!box) throw new Error("the chart is not to be seen");
  // Of the two minutes, nothing is known of the second.
  await page.mouse.move(box.x + 0.75 * box.width, box.y + 20);
  await until(() => figure(page, "CPU", "All").innerText(), "–");
  expect(await page.getByText("Not there").count()).toBe(0);
  await emit(page, later(300_000));
  const now = `${Math.round(last.cpu.total_percent ?? -1)} %`;
  await until(() => figure(page, "CPU", "All").innerText(), now);
  await see(page.locator("caption", { hasText: "Now" }));
});

test("dragging, keys and the wheel zoom, Esc and a double click show all", async () => {
  const page = await openResources();
  const plot = page.locator(".u-over").first();
  await see(plot);
  const moments = page.locator(".moments span");
  const all = await moments.allInnerTexts();
  const zoomed = page.getByRole("button", { name: "Show all" });
  const box = await plot.boundingBox();
  if (!box) throw new Error("the chart is not to be seen");
  await page.mouse.move(box.x + 200, box.y + 30);
  await page.mouse.down();
  await page.mouse.move(box.x + 400, box.y + 40, { steps: 4 });
  await page.mouse.up();
  await see(zoomed);
  await see(page.getByText("Held", { exact: true }));
  expect(await moments.allInnerTexts()).not.toEqual(all);
  await page.keyboard.press("Escape");
  await miss(zoomed);
  await see(page.getByText("Live", { exact: true }));
  await until(() => moments.allInnerTexts(), all);
  await page.keyboard.press("+");
  await see(zoomed);
  await page.keyboard.press("-");
  await miss(zoomed);
  await page.keyboard.down("Control");
  await page.mouse.wheel(0, -100);
  await page.keyboard.up("Control");
  await see(zoomed);
  await plot.dblclick({ position: { x: 300, y: 30 } });
  await miss(zoomed);
  // With nothing zoomed, Esc goes back to the chat as from every view.
  await page.keyboard.press("Escape");
  await see(field(page));
});
