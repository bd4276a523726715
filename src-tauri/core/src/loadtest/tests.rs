use super::{super::LoadWeight, *};

fn test(rate_per_second: f64, seconds: u32, ramp_seconds: u32) -> LoadRequest {
    LoadRequest {
        users: 4,
        rate_per_second,
        seconds,
        ramp_seconds,
        max_tokens: 8,
        target_first_token_ms: 500.0,
        mix: [
            (LoadScenario::Chat, 5),
            (LoadScenario::FollowUp, 3),
            (LoadScenario::LongPrompt, 2),
            (LoadScenario::Api, 0),
        ]
        .map(|(scenario, weight)| LoadWeight { scenario, weight })
        .into(),
    }
}

#[test]
fn arrivals_come_at_the_rate_and_the_ramp_halves_its_part() {
    let full = test(10.0, 1000, 0).arrivals(3);
    // 10,000 expected, a standard deviation of 100.
    assert!((9_500..10_500).contains(&full.len()), "{}", full.len());
    assert!(full.is_sorted_by_key(|(at, _)| *at) && full.last().is_some_and(|(at, _)| at.as_secs() < 1000));
    let of = |wanted| full.iter().filter(|(_, scenario)| *scenario == wanted).count();
    assert!((1_800..2_200).contains(&of(LoadScenario::LongPrompt)), "a fifth: {}", of(LoadScenario::LongPrompt));
    assert_eq!(of(LoadScenario::Api), 0, "without a weight there is none");
    let ramped = test(10.0, 1000, 1000).arrivals(3).len();
    assert!((4_700..5_300).contains(&ramped), "half: {ramped}");
    assert_eq!(full, test(10.0, 1000, 0).arrivals(3), "the same seed");
}

#[test]
fn the_report_counts_what_is_late_as_late() {
    let ms = Duration::from_millis;
    let request = |first: u64, error: Option<&str>| Done {
        scenario: LoadScenario::Chat,
        first_token: error.is_none().then(|| ms(first)),
        total: ms(first + 100),
        tokens: 10,
        error: error.map(Into::into),
        stopped: false,
    };
    let mut done: Vec<Done> = (1..=97).map(|i| request(i * 10, None)).collect();
    done.extend([request(0, Some("rare")), request(0, Some("broken")), request(0, Some("broken"))]);
    let told = report(&done, &test(1.0, 100, 0), "small", false, Duration::from_secs(100));
    assert_eq!((told.requests, told.answered, told.failed), (100, 97, 3));
    let errors: Vec<_> = told.errors.iter().map(|error| (error.text.as_str(), error.count)).collect();
    assert_eq!(errors, [("broken", 2), ("rare", 1)]);
    let close = |time: Option<f64>, to: f64| (time.unwrap() - to).abs() < 1.0;
    assert!(close(told.first_token.p50_ms, 490.0) && close(told.first_token.max_ms, 970.0), "{:?}", told.first_token);
    assert_eq!((told.good_share, told.goodput_per_second), (Some(0.5), 0.5), "50 of 100 within 500 ms");
    assert!((told.tokens_per_second - 9.7).abs() < 1e-9);
    let counts: Vec<_> = told.scenarios.iter().map(|part| (part.scenario, part.first_token.count)).collect();
    let nothing = [LoadScenario::FollowUp, LoadScenario::LongPrompt].map(|scenario| (scenario, 0));
    assert_eq!(counts, [(LoadScenario::Chat, 97), nothing[0], nothing[1]]);
    assert_eq!(told.scenarios[1].first_token.p50_ms, None, "nothing measured is no zero");
    let none = report(&[], &test(1.0, 100, 0), "small", true, Duration::ZERO);
    assert_eq!((none.good_share, none.tokens_per_second, none.first_token.max_ms), (None, 0.0, None));
}

#[test]
fn absurd_tests_are_refused() {
    let mix = |weight| vec![LoadWeight { scenario: LoadScenario::Chat, weight }];
    for wrong in [
        LoadRequest { users: 0, ..test(1.0, 1, 0) },
        LoadRequest { rate_per_second: f64::NAN, ..test(1.0, 1, 0) },
        LoadRequest { max_tokens: 0, ..test(1.0, 1, 0) },
        LoadRequest { target_first_token_ms: f64::INFINITY, ..test(1.0, 1, 0) },
        LoadRequest { mix: mix(0), ..test(1.0, 1, 0) },
        LoadRequest { mix: mix(u32::MAX), ..test(1.0, 1, 0) },
        LoadRequest { mix: Vec::new(), ..test(1.0, 1, 0) },
        test(0.0, 1, 0),
        test(1.0, 0, 0),
        test(1.0, 5, 6),
    ] {
        assert!(wrong.check().is_err(), "{wrong:?}");
    }
}
