//! What engines measure of themselves, among our own metrics.

/// Only these are told: other names could be anything, or ours.
const PREFIX: &str = "mistralrs_";

/// A name with everything that is told of it.
#[derive(Default)]
struct Family {
    name: String,
    /// Its lines of help and type, of the first engine that has it.
    head: Vec<String>,
    lines: Vec<String>,
}

/// The metrics of each `(model, text)` whose names begin with `mistralrs_`, with the model as a label, so that those of two
/// engines are two series.
pub(super) fn merged(told: &[(String, String)]) -> String {
    let mut families: Vec<Family> = Vec::new();
    for (model, text) in told {
        // Help and type stand before the lines that they are about.
        let mut current = None;
        for line in text.lines().map(str::trim) {
            let about = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE "));
            let name = about.unwrap_or(line).split([' ', '{']).next().unwrap_or_default();
            if about.is_none() && (line.is_empty() || line.starts_with('#')) {
                continue;
            }
            let belongs = |family: &Family| name == family.name || part_of(name, &family.name);
            if !current.is_some_and(|at: usize| families.get(at).is_some_and(belongs)) {
                current = None;
            }
            if current.is_none() && name.starts_with(PREFIX) {
                current = families.iter().position(|family| family.name == name).or_else(|| {
                    families.push(Family { name: name.into(), ..Family::default() });
                    Some(families.len() - 1)
                });
            }
            let Some(family) = current.and_then(|at| families.get_mut(at)) else { continue };
            if about.is_some() {
                let kind = &line[..line.len().min(6)];
                if !family.head.iter().any(|head| head.starts_with(kind)) {
                    family.head.push(line.into());
                }
            } else {
                family.lines.extend(labelled(line, model));
            }
        }
    }
    let told = families.iter().filter(|family| !family.lines.is_empty());
    told.map(|family| format!("{}\n\n", [family.head.as_slice(), &family.lines].concat().join("\n"))).collect()
}

/// Whether a line of this name belongs to a histogram or a summary.
fn part_of(name: &str, family: &str) -> bool {
    name.strip_prefix(family).is_some_and(|rest| ["_bucket", "_sum", "_count"].contains(&rest))
}

/// A sample with one label more; nothing where it is no sample.
fn labelled(line: &str, model: &str) -> Option<String> {
    let model = model.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    if let Some((name, rest)) = line.split_once('{') {
        let separator = if rest.starts_with('}') { "" } else { "," };
        return rest.contains('}').then(|| format!("{name}{{model=\"{model}\"{separator}{rest}"));
    }
    let (name, value) = line.split_once(' ')?;
    Some(format!("{name}{{model=\"{model}\"}} {value}"))
}

#[cfg(test)]
mod tests {
    use super::merged;

    const TOLD: &str = "# HELP mistralrs_steps_total Steps\n# TYPE mistralrs_steps_total counter\n\
        mistralrs_steps_total{kind=\"decode\"} 5\n\n# TYPE other_total counter\nother_total 1\n\
        # TYPE mistralrs_step_seconds histogram\nmistralrs_step_seconds_bucket{le=\"+Inf\"} 2\n\
        mistralrs_step_seconds_sum 0.5\nmistralrs_step_seconds_count 2\n";

    #[test]
    fn two_engines_are_two_series_under_one_type() {
        let text = merged(&[("a".into(), TOLD.into()), ("b \"2\"".into(), TOLD.into()), ("c".into(), String::new())]);
        let expected = "# HELP mistralrs_steps_total Steps\n# TYPE mistralrs_steps_total counter\n\
            mistralrs_steps_total{model=\"a\",kind=\"decode\"} 5\n\
            mistralrs_steps_total{model=\"b \\\"2\\\"\",kind=\"decode\"} 5\n\n\
            # TYPE mistralrs_step_seconds histogram\n\
            mistralrs_step_seconds_bucket{model=\"a\",le=\"+Inf\"} 2\n\
            mistralrs_step_seconds_sum{model=\"a\"} 0.5\nmistralrs_step_seconds_count{model=\"a\"} 2\n\
            mistralrs_step_seconds_bucket{model=\"b \\\"2\\\"\",le=\"+Inf\"} 2\n\
            mistralrs_step_seconds_sum{model=\"b \\\"2\\\"\"} 0.5\nmistralrs_step_seconds_count{model=\"b \\\"2\\\"\"} 2\n\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn rubbish_is_left_out() {
        for text in ["", "mistralrs_", "mistralrs_x{", "é", "# TYPE", "# TYPE mistralrs_x", "# é mistralrs_x 1", "{} 1"]
        {
            let merged = merged(&[("m".into(), text.into())]);
            assert!(merged.is_empty(), "{text}: {merged}");
        }
    }
}
