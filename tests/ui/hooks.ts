import { afterEach, beforeAll, expect } from "vitest";
import { connect, takeFaults } from "./harness";

// Runs anew for every file, while the modules it imports stay.

beforeAll(connect);

afterEach(() => {
  expect(takeFaults()).toEqual([]);
});
