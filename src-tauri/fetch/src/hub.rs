//! The hub's API: finding models and their files. Fields that are missing or odd are left out, not fatal.
//!
//! Format: <https://huggingface.co/docs/hub/api>.

use serde_json::Value;

use crate::{
    Client, Error, digest,
    source::{is_repository, join},
};

/// A model repository of the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubRepository {
    /// `owner/repository`.
    pub id: String,
    /// Downloads of the last 30 days.
    pub downloads: Option<u64>,
    /// How many people like it.
    pub likes: Option<u64>,
    /// The licence's identifier, as its author gave it.
    pub licence: Option<String>,
    /// Whether its licence must be accepted on its page first.
    pub gated: Option<bool>,
}

/// A file of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubFile {
    /// The path inside of the repository.
    pub path: String,
    /// The size.
    pub size_bytes: Option<u64>,
    /// The SHA-256 in lower case; only large files have one.
    pub sha256: Option<String>,
}

impl Client {
    /// Searches the hub for repositories with GGUF files, the most downloaded first.
    ///
    /// # Errors
    /// If the hub cannot be reached, refuses, or answers nonsense. It is asked once; there is no retry.
    pub async fn search(&self, text: &str, limit: u32) -> Result<Vec<HubRepository>, Error> {
        let mut url = join(self.endpoint(), ["api", "models"]);
        url.query_pairs_mut()
            .append_pair("search", text)
            .append_pair("filter", "gguf")
            .append_pair("sort", "downloads")
            .append_pair("limit", &limit.to_string());
        let found: Vec<Value> = self.json(&url).await?;
        Ok(found.iter().filter_map(repository).collect())
    }

    /// The files of a repository's main branch.
    ///
    /// # Errors
    /// As [`Client::search`]; [`Error::Source`] if it is not `owner/repository`.
    pub async fn files(&self, repository: &str) -> Result<Vec<HubFile>, Error> {
        if !is_repository(repository) {
            return Err(Error::Source { text: repository.into(), reason: "it is not owner/repository" });
        }
        let mut url = join(self.endpoint(), ["api", "models"].into_iter().chain(repository.split('/')));
        url.query_pairs_mut().append_pair("blobs", "true");
        let details: Value = self.json(&url).await?;
        let siblings = details["siblings"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(siblings.iter().filter_map(file).collect())
    }
}

fn repository(found: &Value) -> Option<HubRepository> {
    let id = found["id"].as_str().or_else(|| found["modelId"].as_str())?;
    let tags = found["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
    Some(HubRepository {
        id: id.into(),
        downloads: found["downloads"].as_u64(),
        likes: found["likes"].as_u64(),
        licence: tags.iter().find_map(|tag| tag.as_str()?.strip_prefix("license:")).map(str::to_owned),
        // `false`, or how access is granted.
        gated: found["gated"].as_bool().or_else(|| found["gated"].as_str().map(|_| true)),
    })
}

fn file(sibling: &Value) -> Option<HubFile> {
    let lfs = &sibling["lfs"];
    Some(HubFile {
        path: sibling["rfilename"].as_str()?.into(),
        size_bytes: sibling["size"].as_u64().or_else(|| lfs["size"].as_u64()),
        sha256: lfs["sha256"].as_str().and_then(digest::parse),
    })
}
