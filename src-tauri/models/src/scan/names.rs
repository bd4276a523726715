//! Names that are like no other's.

use std::collections::{BTreeMap, HashSet};

use super::{Candidate, Source};

/// Gives every candidate a name of its own. Of several with one name the one of Tektra's folder keeps it, if there is
/// only one; the others get their source in brackets, then also what tells them apart there, and at the very last a
/// number. What a model is called does not depend on the order in which models were found.
pub(super) fn make_unique(candidates: &mut [Candidate]) {
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, candidate) in candidates.iter().enumerate() {
        groups.entry(candidate.name.to_lowercase()).or_default().push(index);
    }
    for mut group in groups.into_values().filter(|group| group.len() > 1) {
        let own: Vec<usize> =
            group.iter().copied().filter(|&index| candidates[index].source == Source::Tektra).collect();
        if let [own] = own[..] {
            group.retain(|&index| index != own);
        }
        rename(candidates, &group);
    }
    number(candidates);
}

fn rename(candidates: &mut [Candidate], group: &[usize]) {
    let source = |candidate: &Candidate| candidate.source.to_string();
    let detailed = |candidate: &Candidate| match candidate.detail.as_str() {
        "" => candidate.source.to_string(),
        detail => format!("{}, {detail}", candidate.source),
    };
    let labels: HashSet<String> = group.iter().map(|&index| source(&candidates[index])).collect();
    for &index in group {
        let candidate = &mut candidates[index];
        let label = if labels.len() == group.len() { source(candidate) } else { detailed(candidate) };
        candidate.name = format!("{} ({label})", candidate.name);
    }
}

/// Files whose names differ in the case of letters only, or that are called like another's name with brackets.
fn number(candidates: &mut [Candidate]) {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by(|&a, &b| candidates[a].path.cmp(&candidates[b].path));
    let mut names: HashSet<String> = HashSet::new();
    for index in order {
        let candidate = &mut candidates[index];
        let numbered = (2..).map(|number| format!("{} {number}", candidate.name));
        let mut possible = std::iter::once(candidate.name.clone()).chain(numbered);
        if let Some(name) = possible.find(|name| names.insert(name.to_lowercase())) {
            candidate.name = name;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(found: &[(&str, Source, &str)]) -> Vec<String> {
        let mut candidates: Vec<Candidate> = found
            .iter()
            .map(|&(name, source, detail)| Candidate {
                name: name.into(),
                source,
                path: format!("/{source}/{detail}/{name}.gguf").into(),
                detail: detail.into(),
            })
            .collect();
        make_unique(&mut candidates);
        candidates.into_iter().map(|candidate| candidate.name).collect()
    }

    #[test]
    fn only_what_collides_gets_brackets() {
        use Source::{HuggingFace, LmStudio, Tektra};
        assert_eq!(named(&[("a", Tektra, ""), ("b", LmStudio, "")]), ["a", "b"]);
        let names = named(&[("a", Tektra, ""), ("A", LmStudio, "x"), ("a", HuggingFace, "y")]);
        assert_eq!(names, ["a", "A (LM Studio)", "a (Hugging Face)"]);
        let names = named(&[("a", LmStudio, "x"), ("a", LmStudio, "y")]);
        assert_eq!(names, ["a (LM Studio, x)", "a (LM Studio, y)"]);
        let names = named(&[("a", Tektra, "x"), ("A", Tektra, "x")]);
        assert_eq!(names, ["a (Tektra, x) 2", "A (Tektra, x)"]);
    }

    #[test]
    fn a_file_called_like_a_name_with_brackets_stays_apart() {
        use Source::{LmStudio, Tektra};
        let names = named(&[("a", Tektra, ""), ("a", LmStudio, "x"), ("a (LM Studio)", Tektra, "")]);
        assert_eq!(names, ["a", "a (LM Studio)", "a (LM Studio) 2"]);
    }
}
