import type { Locator, Page } from "playwright-core";
import type { ResourceSample } from "../../ui/src/bindings";
import type { FakeOptions } from "./fake/options";
import { field, open, see, type Shape } from "./harness";
import { cpuMachine } from "./machines";

/** Opens the view of resources. */
export async function openResources(
  options: Partial<FakeOptions> = {},
  shape: Shape = {},
): Promise<Page> {
  const page = await open({ resources: cpuMachine(), ...options }, shape);
  await see(field(page));
  await page.keyboard.press("Control+4");
  await see(page.getByRole("region", { name: "Resources" }));
  return page;
}

/** A chart with its legend. */
export function chart(page: Page, title: string): Locator {
  return page.getByRole("region", { name: title, exact: true });
}

/** The figure beside a label in the legend of a chart. */
export function figure(page: Page, title: string, label: string): Locator {
  return chart(page, title)
    .locator("dl > div", { hasText: label })
    .locator("dd");
}

/** The strip at the lower edge of the window. */
export function strip(page: Page): Locator {
  return page.getByRole("contentinfo", { name: "Engine" });
}

/** A reading of the machine arrives. */
export function emit(page: Page, sample: ResourceSample): Promise<void> {
  return page.evaluate(
    (sample) => window.__fake.emit({ type: "resources_sampled", sample }),
    sample,
  );
}
