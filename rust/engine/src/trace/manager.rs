// SPDX-License-Identifier: Apache-2.0
//! Owns the trace settings and where traces go.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tritongw_types::{Error, Result};

use super::context::{SpanIds, TraceContext};
use super::file::TraceFile;
use super::inference_trace::InferenceTrace;
use super::record::TraceRecord;
use super::sampler::Sampler;
use super::settings::{Layer, TraceSettings, TraceUpdate};

/// Sends finished traces to a collector (T020-T022).
pub trait TraceExporter: Send + Sync {
    /// Takes the records of one client's request, that of the request itself last. Must not
    /// block: what does not fit is dropped.
    fn export(&self, records: Vec<TraceRecord>);

    /// Returns its settings as clients see them (P099).
    fn settings(&self) -> Vec<(&'static str, Vec<String>)>;

    /// Sends what is left and ends; blocks.
    fn shut_down(&self);
}

/// Where traces go (T017).
#[derive(Clone)]
pub enum TraceMode {
    /// Into files (T018); without a path nothing can be traced.
    Triton {
        /// The file, or the beginning of the names of several.
        file: Option<PathBuf>,
    },
    /// To a collector.
    OpenTelemetry(Arc<dyn TraceExporter>),
}

impl Default for TraceMode {
    fn default() -> Self {
        Self::Triton { file: None }
    }
}

impl fmt::Debug for TraceMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Triton { file } => f.debug_struct("Triton").field("file", file).finish(),
            Self::OpenTelemetry(_) => f.write_str("OpenTelemetry"),
        }
    }
}

/// How to trace from the start.
#[derive(Clone, Debug, Default)]
pub struct TraceOptions {
    /// Settings that hold until a client changes them, and again once it clears them.
    pub settings: TraceSettings,
    /// Where traces go; cannot be changed later.
    pub mode: TraceMode,
}

/// Decides which requests are traced and hands their traces on.
///
/// While tracing is off, a request costs one relaxed load.
pub struct TraceManager {
    is_on: AtomicBool,
    start: TraceSettings,
    mode: TraceMode,
    output: Arc<Output>,
    layers: Mutex<Layers>,
    samplers: ArcSwap<Samplers>,
    last_id: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Layers {
    global: Layer,
    models: HashMap<String, Layer>,
}

#[derive(Debug)]
struct Samplers {
    global: Arc<Sampler>,
    models: HashMap<String, Arc<Sampler>>,
}

impl Samplers {
    fn of(&self, model: Option<&str>) -> &Arc<Sampler> {
        let own = model.and_then(|model| self.models.get(model));
        own.unwrap_or(&self.global)
    }

    fn is_any_on(&self) -> bool {
        self.global.is_on() || self.models.values().any(|sampler| sampler.is_on())
    }
}

/// Takes finished traces.
pub(super) enum Output {
    Nowhere,
    File(TraceFile),
    Exporter(Arc<dyn TraceExporter>),
}

impl Output {
    /// Takes the records of one client's request.
    pub(super) fn take(&self, records: Vec<TraceRecord>, log_frequency: u32, is_last: bool) {
        match self {
            Self::Nowhere => {}
            Self::File(file) => file.write(records, log_frequency, is_last),
            Self::Exporter(exporter) => exporter.export(records),
        }
    }
}

impl TraceManager {
    /// Makes the manager; a trace file is not opened before there is a trace for it.
    ///
    /// # Errors
    /// If the thread that writes files cannot start.
    pub fn new(options: TraceOptions) -> Result<Self> {
        let output = match &options.mode {
            TraceMode::Triton { file: None } => Output::Nowhere,
            TraceMode::Triton { file: Some(path) } => Output::File(TraceFile::start(path.clone())?),
            TraceMode::OpenTelemetry(exporter) => Output::Exporter(Arc::clone(exporter)),
        };
        let reason = invalid_reason(&options.settings, &options.mode);
        if let Some(reason) = reason {
            log::warn!("nothing will be traced: {reason}");
        }
        let global = Arc::new(Sampler::new(options.settings, reason.is_none()));
        let samplers = Samplers {
            global,
            models: HashMap::new(),
        };
        Ok(Self {
            is_on: AtomicBool::new(samplers.is_any_on()),
            start: options.settings,
            mode: options.mode,
            output: Arc::new(output),
            layers: Mutex::default(),
            samplers: ArcSwap::from_pointee(samplers),
            last_id: Arc::default(),
        })
    }

    /// Returns whether any request may be traced: worth asking before a door notes the time.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Returns whether the context that a request brings matters.
    pub fn reads_context(&self) -> bool {
        matches!(self.mode, TraceMode::OpenTelemetry(_))
    }

    /// Begins the trace of a request to `model`, if it is one that is traced. One with a context
    /// is, whatever the rate (T035).
    pub fn sample(
        &self,
        model: &str,
        context: Option<&TraceContext>,
    ) -> Option<Arc<InferenceTrace>> {
        if !self.is_on() {
            return None;
        }
        let context = context.filter(|_| self.reads_context());
        let samplers = self.samplers.load();
        let sampler = samplers.of(Some(model));
        if !sampler.choose(context.is_some()) {
            return None;
        }
        let spans = self.reads_context().then(|| SpanIds::root(context));
        Some(InferenceTrace::root(
            Arc::clone(sampler),
            Arc::clone(&self.output),
            Arc::clone(&self.last_id),
            spans,
        ))
    }

    /// Returns the settings of `model`, or the global ones, as clients see them (P097, P099).
    pub fn settings(&self, model: Option<&str>) -> Vec<(&'static str, Vec<String>)> {
        let settings = self.samplers.load().of(model).settings();
        let levels = settings.levels.names();
        let count = settings.count.map(i64::from).unwrap_or(-1);
        let mut list = vec![
            (
                "trace_level",
                levels.into_iter().map(str::to_owned).collect(),
            ),
            ("trace_rate", vec![settings.rate.to_string()]),
            ("trace_count", vec![count.to_string()]),
        ];
        match &self.mode {
            TraceMode::Triton { file } => {
                let file = file.as_deref().unwrap_or_else(|| "".as_ref());
                list.push(("log_frequency", vec![settings.log_frequency.to_string()]));
                list.push(("trace_file", vec![file.display().to_string()]));
                list.push(("trace_mode", vec!["triton".to_owned()]));
            }
            TraceMode::OpenTelemetry(exporter) => {
                list.push(("trace_mode", vec!["opentelemetry".to_owned()]));
                list.extend(exporter.settings());
            }
        }
        list
    }

    /// Changes the settings of `model`, or the global ones; models follow those where they have
    /// none of their own.
    ///
    /// # Errors
    /// `InvalidArg` if nothing could be traced with them (T024); nothing is changed then.
    pub fn update(&self, model: Option<&str>, update: &TraceUpdate) -> Result<()> {
        let mut layers = self.layers.lock();
        let before = self.samplers.load_full();
        let mut global = layers.global;
        global.note_remaining(before.global.settings().count);
        match model {
            None => {
                global.apply(update);
                self.check(&global.over(&self.start))?;
                layers.global = global;
                let models = layers.models.iter_mut().map(|(name, layer)| {
                    layer.note_remaining(before.of(Some(name)).settings().count);
                    let settings = layer.over(&global.over(&self.start));
                    (name.clone(), self.sampler(settings))
                });
                let models = models.collect();
                self.install(Samplers {
                    global: self.sampler(global.over(&self.start)),
                    models,
                });
            }
            Some(name) => {
                let mut layer = layers.models.get(name).copied().unwrap_or_default();
                layer.note_remaining(before.of(model).settings().count);
                layer.apply(update);
                let settings = layer.over(&global.over(&self.start));
                self.check(&settings)?;
                let mut models = before.models.clone();
                // A model with nothing of its own is counted with the others again.
                if layer.is_empty() {
                    layers.models.remove(name);
                    models.remove(name);
                } else {
                    layers.models.insert(name.to_owned(), layer);
                    models.insert(name.to_owned(), self.sampler(settings));
                }
                self.install(Samplers {
                    global: Arc::clone(&before.global),
                    models,
                });
            }
        }
        if let Output::File(file) = &*self.output {
            file.rotate();
        }
        Ok(())
    }

    /// Ends tracing: what was traced is written or sent. Blocks.
    pub fn stop(&self) {
        self.is_on.store(false, Ordering::Relaxed);
        match &*self.output {
            Output::Nowhere => {}
            Output::File(file) => file.stop(),
            Output::Exporter(exporter) => exporter.shut_down(),
        }
    }

    fn sampler(&self, settings: TraceSettings) -> Arc<Sampler> {
        let is_usable = invalid_reason(&settings, &self.mode).is_none();
        Arc::new(Sampler::new(settings, is_usable))
    }

    fn install(&self, samplers: Samplers) {
        let is_on = samplers.is_any_on();
        self.samplers.store(Arc::new(samplers));
        self.is_on.store(is_on, Ordering::Relaxed);
    }

    fn check(&self, settings: &TraceSettings) -> Result<()> {
        let reason = match settings.count {
            // Triton: refused too, without a reason.
            Some(0) if !settings.levels.is_off() => Some("trace count is used up"),
            _ => invalid_reason(settings, &self.mode),
        };
        match reason {
            None => Ok(()),
            Some(reason) => Err(Error::invalid_arg(format!(
                "Attempting to set invalid trace setting :{reason}"
            ))),
        }
    }
}

/// Returns why nothing can be traced with these settings though they say that it should be.
fn invalid_reason(settings: &TraceSettings, mode: &TraceMode) -> Option<&'static str> {
    let TraceMode::Triton { file } = mode else {
        return None;
    };
    if settings.levels.is_off() {
        None
    } else if settings.rate == 0 {
        Some("sample rate must be non-zero")
    } else if file.is_none() {
        Some("trace file name is not given")
    } else {
        None
    }
}

impl fmt::Debug for TraceManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceManager")
            .field("is_on", &self.is_on)
            .field("mode", &self.mode)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}
