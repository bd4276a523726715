use super::*;

#[test]
fn types_and_rules_are_read_as_people_write_them() {
    assert_eq!("INT4".parse::<Base>().unwrap(), Base::Int4);
    assert_eq!("Q4_K_M".parse::<Base>().unwrap(), Base::Int4);
    assert_eq!("fp16".parse::<Base>().unwrap(), Base::F16);
    assert_eq!("q5_k".parse::<Base>().unwrap(), Base::Exact(Format::Q5K));
    assert!("int3".parse::<Base>().unwrap_err().to_string().starts_with("\"int3\" is no type; choose int4"));
    for text in ["*.ffn_down.weight=Q6_K", "0-3=Q8_0", "7=F16"] {
        assert_eq!(text.parse::<Rule>().unwrap().to_string(), text);
    }
    for text in ["", "=Q8_0", "x", "x=Q9", "0-3"] {
        assert!(text.parse::<Rule>().is_err(), "{text}");
    }
}

#[test]
fn patterns_match_whole_names() {
    let name = "blk.12.ffn_down.weight";
    for pattern in ["*", "blk.*", "*ffn*", "blk.*.ffn_*.weight", "*.ffn_down.weight", name] {
        assert!(Pattern::Name(pattern.into()).matches(name), "{pattern}");
    }
    for pattern in ["", "ffn_down", "blk.*.bias", "*.ffn_up.*", "blk.1.*", "*weight*weight"] {
        assert!(!Pattern::Name(pattern.into()).matches(name), "{pattern}");
    }
    assert!(Pattern::Layers(3, 12).matches(name) && !Pattern::Layers(0, 11).matches(name));
    assert!(!Pattern::Layers(0, 99).matches("output.weight"));
}

#[test]
fn the_first_rule_counts_and_an_idle_one_is_an_error() {
    let rules =
        |rules: &[&str]| Plan { base: Base::Int4, rules: rules.iter().map(|rule| rule.parse().unwrap()).collect() };
    let plan = rules(&["0=Q8_0", "*.attn_v.weight=Q5_K"]);
    let mut planner = Planner::new(&plan, 32, false);
    assert_eq!(planner.matrix("blk.0.attn_v.weight", 256).used, Format::Q8_0);
    assert_eq!(planner.matrix("blk.1.attn_v.weight", 256).used, Format::Q5K);
    assert_eq!(planner.matrix("blk.1.attn_q.weight", 256).used, Format::Q4K);
    assert!(planner.finish().is_ok());
    let plan = rules(&["*.attn_w.weight=Q5_K"]);
    let mut planner = Planner::new(&plan, 32, false);
    planner.matrix("blk.0.attn_v.weight", 256);
    let error = planner.finish().unwrap_err().to_string();
    assert_eq!(error, "the rule \"*.attn_w.weight=Q5_K\" matches no matrix of this model");
}

#[test]
fn the_mix_spares_what_is_sensitive() {
    let plan = Plan::from(Base::Int4);
    let mut planner = Planner::new(&plan, 32, false);
    let mut used = |name: &str| planner.matrix(name, 4096).used;
    assert_eq!([used("output.weight"), used("token_embd.weight")], [Format::Q6K, Format::Q4K]);
    let more: Vec<_> = (0..32).filter(|i| used(&format!("blk.{i}.ffn_down.weight")) == Format::Q6K).collect();
    assert_eq!(more, [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31]);
    assert_eq!(used("blk.0.ffn_up.weight"), Format::Q4K);
    let mut tied = Planner::new(&plan, 32, true);
    assert_eq!(tied.matrix("token_embd.weight", 4096).used, Format::Q6K);
    let exact = Plan::from(Base::Exact(Format::Q4K));
    assert_eq!(Planner::new(&exact, 32, false).matrix("output.weight", 4096).used, Format::Q4K);
}

#[test]
fn rows_that_do_not_fit_get_the_next_finer_format_and_a_reason() {
    let used = |base: Base, columns| {
        let plan = Plan::from(base);
        let decision = Planner::new(&plan, 1, false).matrix("blk.0.attn_q.weight", columns);
        (decision.used, decision.why)
    };
    assert_eq!(used(Base::Int4, 512), (Format::Q4K, None));
    let why = Some("rows of 576 elements are not made of blocks of 256".to_owned());
    assert_eq!(used(Base::Int4, 576), (Format::Q5_0, why.clone()));
    assert_eq!(used(Base::Int5, 576), (Format::Q5_1, why.clone()));
    assert_eq!(used(Base::Int6, 576), (Format::Q8_0, why.clone()));
    assert_eq!(used(Base::Exact(Format::Q3K), 576), (Format::Q4_0, why));
    assert_eq!(used(Base::Int8, 100).0, Format::F16);
    assert_eq!(used(Base::Int4, 100).0, Format::F16);
    assert_eq!(used(Base::F32, 7), (Format::F32, None));
}
