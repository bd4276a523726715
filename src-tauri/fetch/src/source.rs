//! Where a file comes from.

use std::{fmt, str::FromStr};

use reqwest::Url;

use crate::Error;

/// A file that can be downloaded. Parsed from `hf://owner/repository/path/file`,
/// `hf://owner/repository@revision/path/file` (a `/` in the revision written as `%2F`), or an http(s) address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file of a model repository of the hub.
    Hub {
        /// `owner/repository`.
        repository: String,
        /// Branch, tag or commit.
        revision: String,
        /// The file's path inside of the repository.
        path: String,
    },
    /// A file at an address.
    Address(Url),
}

impl FromStr for Source {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let wrong = |reason| Error::Source { text: text.into(), reason };
        if let Some(rest) = text.strip_prefix("hf://") {
            return hub(rest).map_err(wrong);
        }
        let url = Url::parse(text).map_err(|_| wrong("it is not an address"))?;
        match url.scheme() {
            "http" | "https" => Ok(Self::Address(url)),
            _ => Err(wrong("only hf, https and http are understood")),
        }
    }
}

fn hub(rest: &str) -> Result<Source, &'static str> {
    let mut parts = rest.splitn(3, '/');
    let (owner, name, path) =
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
    if owner.is_empty() || name.is_empty() {
        return Err("owner or repository is missing");
    }
    if !is_name(owner) || !is_name(name) {
        return Err("owner and repository consist of letters, digits, '.', '_' and '-'");
    }
    if path.is_empty() {
        return Err("it names a repository, but no file of it");
    }
    let revision = revision.replace("%2F", "/").replace("%2f", "/");
    if !is_path(&revision) {
        return Err("the revision after '@' is empty or not a valid one");
    }
    if !is_path(path) {
        return Err("the file's path has an empty, '.' or '..' part, or a character that paths cannot have");
    }
    Ok(Source::Hub { repository: format!("{owner}/{name}"), revision, path: path.into() })
}

/// Whether it can be the owner or the name of a repository.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.chars().all(|character| character == '.')
        && name.chars().all(|character| character.is_ascii_alphanumeric() || "._-".contains(character))
}

fn is_path(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && !path.chars().any(|character| character.is_control() || character == '\\')
}

/// Whether it is `owner/name`.
pub(crate) fn is_repository(repository: &str) -> bool {
    repository.split_once('/').is_some_and(|(owner, name)| is_name(owner) && is_name(name))
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub { repository, revision, path } if revision == "main" => {
                write!(formatter, "hf://{repository}/{path}")
            }
            Self::Hub { repository, revision, path } => {
                write!(formatter, "hf://{repository}@{}/{path}", revision.replace('/', "%2F"))
            }
            Self::Address(url) => write!(formatter, "{url}"),
        }
    }
}

impl Source {
    /// The last part of the path: a name for the file. An address may have none, and keeps its `%` escapes.
    pub fn file_name(&self) -> Option<&str> {
        let path = match self {
            Self::Hub { path, .. } => path,
            Self::Address(url) => url.path(),
        };
        path.rsplit('/').next().filter(|name| !name.is_empty())
    }

    /// The address to ask, with the hub at `endpoint`.
    pub(crate) fn url(&self, endpoint: &Url) -> Url {
        match self {
            Self::Hub { repository, revision, path } => {
                let parts = repository.split('/').chain(["resolve", revision.as_str()]).chain(path.split('/'));
                join(endpoint, parts)
            }
            Self::Address(url) => url.clone(),
        }
    }
}

/// Appends parts to an address, escaping what needs it.
pub(crate) fn join<'a>(endpoint: &Url, parts: impl IntoIterator<Item = &'a str>) -> Url {
    let mut url = endpoint.clone();
    // Only addresses such as `mailto:` have no path; the endpoint was checked to be http(s).
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(parts);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let endpoint = Url::parse("https://hub.example/mirror/").unwrap();
        let got = match text.parse::<Source>() {
            Ok(source) => {
                assert_eq!(source.to_string().parse::<Source>().unwrap(), source, "{text} written and read again");
                source.url(&endpoint).to_string()
            }
            Err(error) => error.to_string(),
        };
        assert!(got.contains(expected), "{text}: {got}");
    }

    #[test]
    fn hub_files_become_addresses() {
        check("hf://a/b/c.gguf", "https://hub.example/mirror/a/b/resolve/main/c.gguf");
        check(" hf://a/b-1.5_x/q4/c d#1.gguf ", "/a/b-1.5_x/resolve/main/q4/c%20d%231.gguf");
        check("hf://a/b@v1.0/c.gguf", "/a/b/resolve/v1.0/c.gguf");
        check("hf://a/b@refs%2Fpr%2F3/c.gguf", "/a/b/resolve/refs%2Fpr%2F3/c.gguf");
        check("https://x.example/y.gguf?z=1", "https://x.example/y.gguf?z=1");
    }

    #[test]
    fn what_is_wrong_is_said() {
        check("hf://a", "owner or repository is missing");
        check("hf:///b/c", "owner or repository is missing");
        check("hf://a/b", "names a repository, but no file");
        check("hf://a/b/", "names a repository, but no file");
        check("hf://a b/c/d", "consist of letters");
        check("hf://../c/d", "consist of letters");
        check("hf://a/b@/c", "revision after '@'");
        check("hf://a/b/../../c", "'..' part");
        check("hf://a/b/x\\y", "character that paths cannot have");
        check("ftp://a/b", "only hf, https and http");
        check("model.gguf", "not an address");
    }

    #[test]
    fn the_file_has_a_name() {
        let name = |text: &str| text.parse::<Source>().unwrap().file_name().map(str::to_owned);
        assert_eq!(name("hf://a/b/q4/c.gguf").as_deref(), Some("c.gguf"));
        assert_eq!(name("https://x.example/d/y.gguf?download=true").as_deref(), Some("y.gguf"));
        assert_eq!(name("https://x.example/"), None);
    }
}
