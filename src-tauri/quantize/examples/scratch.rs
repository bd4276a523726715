//! Scratch.
#![allow(clippy::unwrap_used, clippy::print_stdout)]
use std::{path::Path, sync::atomic::AtomicBool, time::Instant};
use tektra_quantize::*;
fn main() {
    let a: Vec<String> = std::env::args().skip(1).collect();
    let t = Instant::now();
    match a[0].as_str() {
        "encode" => {
            let f = parse_format(&a[1]).unwrap();
            let v: Vec<f32> =
                std::fs::read(&a[2]).unwrap().as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
            let mut out = vec![0; f.row_bytes(v.len()).unwrap()];
            let t = Instant::now();
            encode(f, &v, None, &mut out).unwrap();
            println!("{} {:.1} M/s", a[1], v.len() as f64 / t.elapsed().as_secs_f64() / 1e6);
            std::fs::write(&a[3], out).unwrap();
        }
        "export" => to_safetensors(Path::new(&a[1]), Path::new(&a[2])).unwrap(),
        "convert" => {
            let r = convert(
                Path::new(&a[1]),
                &a[2].parse::<Base>().unwrap().into(),
                Path::new(&a[3]),
                &mut |_| {},
                &AtomicBool::new(false),
            )
            .unwrap();
            println!("{r:#?}");
            println!("{:.2} s", t.elapsed().as_secs_f64());
        }
        "requantize" => match requantize(
            Path::new(&a[1]),
            &a[2].parse::<Base>().unwrap().into(),
            Path::new(&a[3]),
            a.len() > 4,
            &mut |_| {},
            &AtomicBool::new(false),
        ) {
            Ok(r) => println!("{r:#?}"),
            Err(e) => println!("{e}"),
        },
        "options" => println!("{:#?}", options(Path::new(&a[1]))),
        "tiny" => tiny::write_model(Architecture::Llama, Path::new(&a[1]), Path::new(&a[2]), 1).unwrap(),
        _ => {}
    }
    println!("{:.2} s", t.elapsed().as_secs_f64());
}
