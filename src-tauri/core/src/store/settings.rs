//! Settings: one JSON value a name.

use serde::{Serialize, de::DeserializeOwned};

use super::Store;
use crate::{Error, Result};

impl Store {
    /// The value stored under `name`. A value that cannot be read counts as absent: a setting is never worth a failed start.
    pub async fn setting<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let value: Option<String> = sqlx::query_scalar("SELECT value FROM setting WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.readers)
            .await?;
        Ok(value.and_then(|json| serde_json::from_str(&json).ok()))
    }

    /// Stores `value` under `name`.
    pub async fn set_setting<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let json = serde_json::to_string(value).map_err(|error| Error::StoreFailed { reason: error.to_string() })?;
        sqlx::query(
            "INSERT INTO setting (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(name)
        .bind(json)
        .execute(&self.writer)
        .await?;
        Ok(())
    }
}
