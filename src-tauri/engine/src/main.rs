//! The engine that computes on the CPU.

fn main() {
    tektra_engine::run();
}
