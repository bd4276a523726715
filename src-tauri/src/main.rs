//! Tektra's window.

// No console window beside it on Windows.
#![cfg_attr(all(not(debug_assertions), windows), windows_subsystem = "windows")]

use std::process::ExitCode;

fn main() -> ExitCode {
    tektra_lib::run()
}
