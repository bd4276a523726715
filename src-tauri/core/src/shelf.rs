//! What a person asks of the models: where each is placed, which to use, in which precision, and which others there are.

use tektra_models::Devices;

use crate::{
    Error, HubGguf, HubModel, PlacementPlan, PlacementWish, Precisions, ProfileGoal, ProfileSummary, Result, Settings,
    Tektra, Workshop,
    models::{FitReport, FitSummary, Known, Library, Model, hub, placement, profiles_now},
};

impl Tektra {
    /// What the model `name` needs of the memory for a conversation of `context_tokens`.
    pub async fn model_fit(&self, name: String, context_tokens: Option<u32>) -> Result<FitSummary> {
        let model = self.model_named(name).await?;
        FitReport::new(&model, context_tokens, &self.engine().corrections(), &self.devices_for(&model).await)
            .map(Into::into)
    }

    /// Which part of the model `name` lies where, as `wish` says, or as it is stored.
    pub async fn placement_plan(&self, name: String, wish: Option<PlacementWish>) -> Result<PlacementPlan> {
        let model = self.model_named(name).await?;
        let model = match wish {
            Some(wish) => model.placed(wish),
            None => model,
        };
        Ok(placement::plan(&model, &self.devices_for(&model).await, &self.engine().corrections()))
    }

    /// Stores where the model `name` is to be placed; the next message finds it so.
    ///
    /// # Errors
    /// [`Error::ModelUnusable`] when that cannot be done: nothing has changed then.
    pub async fn set_placement(&self, name: String, wish: PlacementWish) -> Result<()> {
        let model = self.model_named(name).await?.placed(wish);
        let (corrections, devices) = (self.engine().corrections(), self.devices_for(&model).await);
        placement::check(&model, &placement::placed(&model, &devices, &corrections, 0))?;
        self.store().set_placement(&model.name, &model.wish).await
    }

    /// Fast, Balanced, Quality for this machine as it is now.
    pub async fn profiles(&self) -> Result<Vec<ProfileSummary>> {
        let measured = self.store().measured_speeds().await?;
        // Another model makes way for the one that is chosen.
        let devices = self.engine().devices_without(|_| true).await;
        let profiles = self.look(move |library| Ok(profiles_now(&library, &devices, &measured))).await?;
        let (settings, placements) = (self.settings().await?, self.store().placements().await?);
        let used = settings.model.as_deref();
        Ok(profiles.into_iter().map(|profile| ProfileSummary::new(profile, used, &placements)).collect())
    }

    /// Uses a profile: its model with its context. Returns the settings as they are then.
    ///
    /// # Errors
    /// [`Error::NoModel`] when no model fits.
    pub async fn apply_profile(&self, goal: ProfileGoal) -> Result<Settings> {
        let all = self.profiles().await?;
        let Some(profile) = all.into_iter().find(|profile| profile.goal == goal) else {
            return Err(Error::NoModel { folder: self.home().models() });
        };
        let wish = PlacementWish { context_tokens: Some(profile.context_tokens), ..PlacementWish::default() };
        self.store().set_placement(&profile.model, &wish).await?;
        let settings = Settings { model: Some(profile.model), ..self.settings().await? };
        self.set_settings(&settings).await?;
        Ok(settings)
    }

    /// In which precisions the model `name` can be had, and what each costs.
    pub async fn precisions(&self, name: String) -> Result<Precisions> {
        let known =
            Known { speeds: self.store().measured_speeds().await?, perplexities: self.store().perplexities().await? };
        self.look(move |library| Precisions::new(&library, &name, &known)).await
    }

    /// Writes models in other precisions, and measures what they lose.
    pub fn workshop(&self) -> &Workshop {
        &self.0.workshop
    }

    /// Writes the model `name` as `kind` into Tektra's folder; the workshop tells how far it is.
    pub async fn quantize(&self, name: String, kind: String, rules: Vec<String>) -> Result<()> {
        let wanted = name.clone();
        let (path, _) = self.look(move |library| library.facts(&wanted)).await?;
        self.workshop().quantize(name, path, kind, rules)
    }

    /// Measures the perplexity of the model `name`; the workshop tells when it is done.
    pub async fn measure_quality(&self, name: String) -> Result<()> {
        let model = self.look(move |library| library.find(Some(&name))).await?;
        self.workshop().measure(&model, self.engine().options().executable.clone())
    }

    /// Searches the hub for repositories with GGUF files.
    pub async fn hub_search(&self, text: &str) -> Result<Vec<HubModel>> {
        hub::search(&self.downloads().client()?, text).await
    }

    /// The GGUF files of a repository.
    pub async fn hub_files(&self, repository: &str) -> Result<Vec<HubGguf>> {
        let library = Library::new(self.home(), &self.effective_settings().await?);
        hub::files(&self.downloads().client()?, repository, library).await
    }

    /// The devices as `model` would find them: what it holds now is free for itself.
    async fn devices_for(&self, model: &Model) -> Devices {
        self.engine().devices_without(|loaded| loaded.path == model.path).await
    }

    /// The model `name`, to be computed as it is stored.
    async fn model_named(&self, name: String) -> Result<Model> {
        let placements = self.store().placements().await?;
        let model = self.look(move |library| library.find(Some(&name))).await?;
        let wish = placements.get(&model.name).cloned().unwrap_or_default();
        Ok(model.placed(wish))
    }
}
