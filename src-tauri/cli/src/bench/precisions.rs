//! Which models a list of precisions means.

use tektra_core::{Error, Tektra};

/// The models called `models`, or the one in use, in the precisions `wanted`; as they are where none is wanted.
///
/// # Errors
/// [`Error::InvalidInput`] for a precision that is not on this machine.
pub(super) async fn named(tektra: &Tektra, models: &[String], wanted: &[String]) -> Result<Vec<String>, Error> {
    if wanted.is_empty() {
        return Ok(models.to_vec());
    }
    let mut bases = models.to_vec();
    if bases.is_empty() {
        let used = tektra.settings().await?.model;
        let first = tektra.models().await?.into_iter().next().map(|model| model.name);
        bases.extend(used.or(first));
    }
    let mut named = Vec::new();
    for base in &bases {
        let own = tektra.model_details(base.clone()).await?.quantization;
        let precisions = tektra.precisions(base.clone()).await?;
        for kind in wanted {
            // `fp16` is written as often as `f16`.
            let kind = &kind.to_ascii_lowercase().replace("fp", "f");
            let choice = precisions.choices.iter().find(|choice| choice.kind.eq_ignore_ascii_case(kind));
            let format = choice.map_or(kind.as_str(), |choice| choice.format.as_str());
            let sibling = precisions.siblings.iter().find(|other| other.format.eq_ignore_ascii_case(format));
            if own.eq_ignore_ascii_case(format) {
                named.push(base.clone());
            } else if let Some(name) = sibling.and_then(|other| other.installed.clone()) {
                named.push(name);
            } else {
                let what = format!(
                    "There is no {kind} of \"{base}\" on this machine. `tektra-cli models precisions {base}` shows what \
                     can be written or downloaded."
                );
                return Err(Error::InvalidInput { what });
            }
        }
    }
    Ok(named)
}
