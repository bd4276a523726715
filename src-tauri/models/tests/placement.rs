//! Where models lie, and what is refused before anything is loaded.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use tektra_models::{
    Devices, Dtype, Executor, Facts, Gpu, GpuExecutors, KvType, PlaceOf, Placement, Plan, Problem, Runs, Where, Wish,
    catalogue, fit, max_context, place,
};

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

fn model(id: &str) -> Facts {
    catalogue().unwrap().find(id).unwrap().facts()
}

fn gpu(index: u32, free_gib: u64) -> Gpu {
    Gpu {
        index,
        name: format!("Card {index}"),
        total_bytes: free_gib * GIB,
        free_bytes: free_gib * GIB,
        compute_capability: Some((8, 9)),
        drives_display: false,
    }
}

fn devices(gpus: &[Gpu]) -> Devices {
    Devices { ram_free_bytes: 64 * GIB, gpus: gpus.to_vec(), ..Devices::default() }
}

fn on(gpus: &[u32]) -> Wish {
    Wish { place: Where::Gpus(gpus.to_vec()), ..Wish::default() }
}

fn reasons(placement: &Placement) -> String {
    let text = |problem: &Problem| format!("{} {}", problem.reason, problem.hint);
    placement.refused.iter().map(text).collect::<Vec<_>>().join("\n")
}

/// Every byte and layer is somewhere, once.
fn check_sums(placement: &Placement, layers: u32) {
    let mut next = 0;
    for placed in &placement.devices {
        assert_eq!(placed.layers.start, next, "{placement:?}");
        next = placed.layers.end;
        assert_eq!(placed.fits, placed.total_bytes() <= placed.free_bytes);
    }
    assert_eq!(next, layers);
    assert_eq!(placement.devices.iter().filter(|placed| placed.holds_output).count(), 1);
    assert!(placement.devices[0].holds_output);
    // Tektra's executor reads rows of embeddings from the file where layers lie on GPUs.
    let in_memory = placement.devices.iter().filter(|placed| placed.holds_embeddings).count();
    assert_eq!(in_memory, usize::from(placement.executor != Executor::TektraGpu));
    assert_eq!(placement.fits, placement.devices.iter().all(|placed| placed.fits));
    let need = placement.need;
    let sum = |of: fn(&tektra_models::Placed) -> u64| placement.devices.iter().map(of).sum::<u64>();
    assert_eq!(need.weights_bytes, sum(|placed| placed.weights_bytes));
    assert_eq!(need.kv_bytes, sum(|placed| placed.kv_bytes));
    assert_eq!(need.total_bytes, sum(tektra_models::Placed::total_bytes));
}

#[test]
fn without_a_gpu_the_numbers_are_those_of_fit() {
    for id in ["qwen3-4b-2507", "phi-3-mini-4k"] {
        let facts = model(id);
        for wish in [Wish::default(), Wish { place: Where::Cpu, ..Wish::default() }] {
            let placement = place(&facts, &wish, &devices(&[]));
            let plan = Plan::cpu(facts.context_length.min(8192));
            assert_eq!(placement.need, fit(&facts, &plan));
            assert_eq!(placement.max_context, max_context(&facts, &plan, 64 * GIB));
            assert_eq!(placement.words(), "CPU");
            assert!(placement.is_possible(), "{placement:?}");
            check_sums(&placement, facts.shape.layers);
        }
    }
}

#[test]
fn a_model_that_fits_on_one_gpu_lies_there_whole() {
    let facts = model("qwen3-8b");
    let two = devices(&[gpu(0, 12), gpu(1, 24)]);
    let placement = place(&facts, &Wish::default(), &two);
    assert_eq!(placement.words(), "GPU 1", "the one with the most free memory");
    assert_eq!((placement.executor, placement.dtype), (Executor::MistralRsGpu, Dtype::Bf16));
    let own = Devices { gpu_executors: GpuExecutors { tektra: true, mistral_rs: true }, ..two };
    let placement = place(&facts, &Wish::default(), &own);
    assert_eq!((placement.executor, placement.dtype), (Executor::TektraGpu, Dtype::Auto));
    let plan = Plan { reserve_bytes: 128 * MIB, ..Plan::gpu(8192) };
    assert_eq!(placement.need, fit(&facts, &plan));
    assert!(placement.is_possible());
    check_sums(&placement, 36);
    // The longest context that is told fits, and the next page does not.
    let most = place(&facts, &Wish::default(), &devices(&[gpu(0, 9)])).max_context.unwrap();
    let at = |context| {
        let wish = Wish { context_tokens: Some(context), ..on(&[0]) };
        place(&facts, &wish, &devices(&[gpu(0, 9)])).fits
    };
    assert!(at(most) && !at(most + 32), "{most}");
}

#[test]
fn with_its_own_kernels_tektra_divides_every_model_that_it_computes() {
    let own = |mistral_rs| Devices {
        gpu_executors: GpuExecutors { tektra: true, mistral_rs },
        ..devices(&[gpu(0, 8), gpu(1, 6)])
    };
    let facts = model("qwen3-4b-2507");
    let half = Wish { gpu_layers: Some(18), kv: KvType::Q8, ..on(&[0]) };
    let placement = place(&facts, &half, &own(false));
    assert!(placement.is_possible(), "{placement:?}");
    assert_eq!((placement.executor, placement.kv), (Executor::TektraGpu, KvType::Q8));
    assert_eq!(placement.words(), "GPU 0 + CPU (18 of 36 layers)");
    assert_eq!(placement.devices[0].layers, 0..18);
    assert!(placement.devices[0].holds_output && !placement.devices[0].holds_embeddings, "{placement:?}");
    // Twice the context needs more of a GPU than twice the keys and values: scores of attention too.
    let need = |context| {
        let wish = Wish { context_tokens: Some(context), ..on(&[0]) };
        place(&facts, &wish, &own(false)).devices[0].compute_bytes
    };
    assert!(need(65_536) > need(8192), "{} {}", need(65_536), need(8192));
    // What is computed in can be chosen for mistral.rs only, and other models are its.
    let bf16 = Wish { dtype: Dtype::Bf16, ..on(&[0]) };
    assert_eq!(place(&facts, &bf16, &own(true)).executor, Executor::MistralRsGpu);
    assert!(reasons(&place(&facts, &bf16, &own(false))).contains("not in bf16"));
    let phi = model("phi-3-mini-4k");
    assert_eq!(place(&phi, &on(&[0]), &own(true)).executor, Executor::MistralRsGpu);
    let refused = reasons(&place(&phi, &on(&[0]), &own(false)));
    assert!(refused.contains("make engine-cuda MODELS=all"), "{refused}");
    let automatic = place(&phi, &Wish::default(), &own(false));
    assert!(automatic.is_possible() && automatic.words() == "CPU", "{automatic:?}");
}

#[test]
fn what_does_not_fit_on_one_is_divided() {
    let facts = model("llama-3.1-8b");
    let placement = place(&facts, &Wish::default(), &devices(&[gpu(0, 5), gpu(1, 6)]));
    assert_eq!(placement.words(), "GPU 1 + GPU 0", "the one with the most free memory is first");
    assert!(placement.is_possible(), "{placement:?}");
    check_sums(&placement, 32);

    let placement = place(&facts, &Wish::default(), &devices(&[gpu(0, 6)]));
    let (on_gpus, all) = placement.layers();
    assert!(0 < on_gpus && on_gpus < all && all == 32);
    assert_eq!(placement.words(), format!("GPU 0 + CPU ({on_gpus} of 32 layers)"));
    assert_eq!(placement.dtype, Dtype::F16, "candle multiplies no bf16 on a CPU");
    assert!(placement.is_possible(), "{placement:?}");
    assert!(placement.notes.iter().any(|note| note.contains("without paged attention")), "{:?}", placement.notes);
    check_sums(&placement, 32);
    let one_more = Wish { gpu_layers: Some(on_gpus + 1), ..on(&[0]) };
    assert!(!place(&facts, &one_more, &devices(&[gpu(0, 6)])).fits, "it was as many as fit");

    let nothing = place(&facts, &Wish::default(), &devices(&[gpu(0, 1)]));
    assert_eq!(nothing.words(), "CPU");
    assert!(nothing.notes.iter().any(|note| note.contains("not one layer fits")), "{:?}", nothing.notes);
}

#[test]
fn layers_follow_the_wish_and_the_shares() {
    let facts = model("llama-3.1-8b");
    let two = devices(&[gpu(0, 40), gpu(1, 40)]);
    let placement = place(&facts, &Wish { shares: vec![3.0, 1.0], ..on(&[1, 0]) }, &two);
    let layers: Vec<_> = placement.devices.iter().map(|placed| (placed.device, placed.layers.clone())).collect();
    assert_eq!(layers, [(PlaceOf::Gpu { index: 1 }, 0..24), (PlaceOf::Gpu { index: 0 }, 24..32)]);
    assert!(placement.is_possible());
    check_sums(&placement, 32);
    let placement = place(&facts, &Wish { gpu_layers: Some(20), ..on(&[0]) }, &two);
    assert_eq!(placement.words(), "GPU 0 + CPU (20 of 32 layers)");
    check_sums(&placement, 32);
    // Too little on the one with the larger share: as many as its share allows.
    let uneven = devices(&[gpu(0, 4), gpu(1, 40)]);
    let placement = place(&facts, &Wish { shares: vec![3.0, 1.0], ..on(&[0, 1]) }, &uneven);
    assert!(placement.is_possible() && placement.layers().0 < 32, "{}", placement.words());
}

#[test]
fn what_mistral_rs_cannot_divide_is_refused_with_the_reason() {
    let two = devices(&[gpu(0, 40), gpu(1, 40)]);
    for id in ["qwen3-8b", "qwen2.5-7b", "phi-3-mini-4k"] {
        let facts = model(id);
        for wish in
            [on(&[0, 1]), Wish { gpu_layers: Some(3), ..on(&[0]) }, Wish { gpu_layers: Some(3), ..Wish::default() }]
        {
            let placement = place(&facts, &wish, &two);
            let architecture = format!("cannot divide the architecture \"{}\"", facts.architecture);
            assert!(reasons(&placement).contains(&architecture), "{id}: {placement:?}");
            assert!(!placement.is_possible());
        }
        let whole = Wish { gpu_layers: Some(facts.shape.layers), ..on(&[1]) };
        assert!(place(&facts, &whole, &two).is_possible());
        let small = place(&facts, &Wish::default(), &devices(&[gpu(0, 2)]));
        assert_eq!(small.words(), "CPU");
        assert!(small.notes.iter().any(|note| note.contains("cannot divide")), "{:?}", small.notes);
        // Asked for by name it stays whole, and shows that it does not fit.
        let small = place(&facts, &on(&[0]), &devices(&[gpu(0, 2)]));
        assert_eq!((small.words().as_str(), small.fits), ("GPU 0", false));
    }
}

#[test]
fn types_that_a_device_has_not_are_refused() {
    let facts = model("llama-3.1-8b");
    let mut old = gpu(0, 40);
    old.compute_capability = Some((7, 5));
    let old = devices(&[old]);
    let with = |dtype, kv, place| Wish { dtype, kv, place, ..Wish::default() };
    let gpu0 = || Where::Gpus(vec![0]);
    let said = |facts: &Facts, wish: &Wish, devices: &Devices| reasons(&place(facts, wish, devices));

    let text = said(&facts, &with(Dtype::Bf16, KvType::F16, gpu0()), &old);
    assert!(text.contains("compute capability 7.5, and bf16 needs 8.0"), "{text}");
    assert_eq!(place(&facts, &Wish::default(), &old).dtype, Dtype::F16);
    let text = said(&facts, &with(Dtype::Auto, KvType::Q8, gpu0()), &old);
    assert!(text.contains("only Tektra's own executor"), "{text}");
    let text = said(&facts, &with(Dtype::F16, KvType::F32, gpu0()), &old);
    assert!(text.contains("in the type that it computes in"), "{text}");
    let f32 = place(&facts, &with(Dtype::F32, KvType::F16, gpu0()), &old);
    assert!(f32.is_possible());
    assert_eq!((f32.kv, f32.need.kv_bytes), (KvType::F32, 8192 * 32 * 8 * 256 * 4));

    let text = said(&facts, &with(Dtype::F32, KvType::F16, Where::Cpu), &old);
    assert!(text.contains("8-bit integers and f32"), "{text}");
    let text = said(&model("phi-3-mini-4k"), &with(Dtype::Auto, KvType::Q8, Where::Cpu), &old);
    assert!(text.contains("only Tektra's own executor"), "{text}");
    let q8 = place(&facts, &with(Dtype::Auto, KvType::Q8, Where::Auto), &old);
    assert_eq!((q8.words().as_str(), q8.kv, q8.is_possible()), ("CPU", KvType::Q8, true), "only the CPU can");
}

#[test]
fn nonsense_is_refused_with_what_to_do() {
    let facts = model("llama-3.1-8b");
    let two = devices(&[gpu(0, 40), gpu(2, 40)]);
    let cases = [
        (Wish { gpu_layers: Some(40), ..on(&[0]) }, "it has 32 layers, not 40. Choose at most 32."),
        (Wish { gpu_layers: Some(40), ..Wish::default() }, "it has 32 layers, not 40."),
        (Wish { gpu_layers: Some(0), ..on(&[0]) }, "none of its layers is to lie there. Choose the CPU"),
        (Wish { gpu_layers: Some(5), place: Where::Cpu, ..Wish::default() }, "only the CPU is chosen"),
        (on(&[7]), "there is no GPU 7. Choose among the GPUs 0, 2."),
        (on(&[0, 0]), "GPU 0 is chosen twice."),
        (on(&[]), "no GPU is chosen."),
        (Wish { shares: vec![1.0], ..on(&[0, 2]) }, "the number of shares (1) is not that of GPUs (2)."),
        (Wish { shares: vec![1.0, -1.0], ..on(&[0, 2]) }, "-1 is no share."),
        (Wish { shares: vec![1.0, f64::NAN], ..on(&[0, 2]) }, "NaN is no share."),
        (Wish { shares: vec![1.0], ..Wish::default() }, "no GPUs that they belong to"),
        (Wish { context_tokens: Some(200_000), ..Wish::default() }, "trained for a context of 131072 tokens"),
        (Wish { context_tokens: Some(0), ..Wish::default() }, "0 tokens"),
    ];
    for (wish, reason) in cases {
        let placement = place(&facts, &wish, &two);
        assert!(reasons(&placement).contains(reason), "{wish:?}: {:?}", placement.refused);
        assert!(!placement.is_possible());
        if !placement.devices.is_empty() {
            check_sums(&placement, 32);
        }
    }
}

#[test]
fn an_engine_without_gpus_uses_the_cpu_and_says_why() {
    let facts = model("qwen3-8b");
    let because = Problem { reason: "this build is for the CPU only.".into(), hint: "Install the other.".into() };
    let devices = Devices { no_gpu_because: Some(because.clone()), ..devices(&[gpu(0, 40)]) };
    let placement = place(&facts, &Wish::default(), &devices);
    assert_eq!((placement.words().as_str(), placement.is_possible()), ("CPU", true));
    assert!(placement.notes.iter().any(|note| note.contains("this build is for the CPU only")));
    assert_eq!(place(&facts, &on(&[0]), &devices).refused, [because]);
}

#[test]
fn a_model_that_nothing_runs_is_refused_wherever_it_is_to_lie() {
    let mut facts = model("qwen3-8b");
    facts.runs = Runs::No(Problem { reason: "it is broken.".into(), hint: "Take another.".into() });
    for wish in [Wish::default(), on(&[0]), Wish { place: Where::Cpu, ..Wish::default() }] {
        assert!(reasons(&place(&facts, &wish, &devices(&[gpu(0, 40)]))).contains("it is broken."));
    }
    facts.runs = Runs::TektraCpu;
    facts.files = vec!["a-00001-of-00002.gguf".into(), "a-00002-of-00002.gguf".into()];
    let divided = devices(&[gpu(0, 40)]);
    assert!(reasons(&place(&facts, &on(&[0]), &divided)).contains("split into 2 files"));
    assert_eq!(place(&facts, &Wish::default(), &divided).words(), "CPU");
}

#[test]
fn a_display_keeps_its_reserve_and_wishes_count() {
    let facts = model("qwen3-8b");
    let mut with_display = gpu(0, 40);
    with_display.drives_display = true;
    let all = devices(&[with_display, gpu(1, 40)]);
    let reserve = |wish: &Wish| {
        let placement = place(&facts, wish, &all);
        (placement.devices[0].reserve_bytes / MIB, placement.notes[0].clone())
    };
    assert_eq!(reserve(&on(&[0])), (512, "512 MiB are left free on GPU 0, which drives a display.".into()));
    assert_eq!(reserve(&on(&[1])), (128, "128 MiB are left free on GPU 1 for its driver.".into()));
    let asked = Wish { reserve_bytes: Some(GIB), ..on(&[0]) };
    assert_eq!(reserve(&asked), (1024, "1024 MiB are left free on each device, as you asked.".into()));
    assert_eq!(reserve(&Wish { place: Where::Cpu, ..asked }).0, 1024);
}

#[test]
fn a_wish_may_be_written_in_part_and_types_by_name() {
    let wish: Wish = serde_json::from_str(r#"{"place":{"gpus":[1]},"kv":"q8","dtype":"bf16"}"#).unwrap();
    assert_eq!(wish, Wish { kv: KvType::Q8, dtype: Dtype::Bf16, ..on(&[1]) });
    assert_eq!(serde_json::from_str::<Wish>("{}").unwrap(), Wish::default());
    for name in ["f16", "q8", "f32"] {
        assert_eq!(name.parse::<KvType>().unwrap().to_string(), name);
    }
    for name in ["auto", "bf16", "f16", "f32"] {
        assert_eq!(name.parse::<Dtype>().unwrap().to_string(), name);
    }
    assert_eq!("f8".parse::<KvType>().unwrap_err().to_string(), "\"f8\" is none of f16, q8, f32.");
    let placement = place(&model("llama-3.1-8b"), &Wish::default(), &devices(&[gpu(0, 6)]));
    let again: Placement = serde_json::from_str(&serde_json::to_string(&placement).unwrap()).unwrap();
    assert_eq!(again, placement);
}

#[test]
fn damaged_shapes_do_no_harm() {
    let mut facts = model("llama-3.1-8b");
    let two = devices(&[gpu(0, 4), gpu(1, 4)]);
    facts.shape.layers = 0;
    place(&facts, &Wish::default(), &two);
    place(&facts, &on(&[0, 1]), &two);
    facts.shape.layers = u32::MAX;
    place(&facts, &Wish::default(), &two);
    place(&facts, &Wish { shares: vec![1e-12, 1.0], ..on(&[0, 1]) }, &two);
    facts.shape.kv_heads = u32::MAX;
    facts.shape.key_length = u32::MAX;
    assert!(!place(&facts, &Wish { gpu_layers: Some(7), ..on(&[0, 1]) }, &two).fits);
}
