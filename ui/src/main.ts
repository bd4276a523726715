import "./lib/language";
import { mount } from "svelte";
import "katex/dist/katex.min.css";
import "./app.css";
import App from "./App.svelte";
import { applyTheme } from "./settings/theme";

// Before anything is drawn, so that the window never flashes in the other theme.
applyTheme();

const target = document.getElementById("app");
if (!target) throw new Error("index.html has no #app");
mount(App, { target });
