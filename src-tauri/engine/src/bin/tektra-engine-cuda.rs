//! The engine that computes on NVIDIA GPUs too, started where layers lie there.

fn main() {
    tektra_engine::run();
}
