// SPDX-License-Identifier: Apache-2.0
use std::num::NonZeroUsize;
use std::time::Duration;

use tritongw_types::{Error, Result};

/// Where to send traces and how to batch them; the defaults are Triton's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpOptions {
    /// Address of the collector, `http` only (T020).
    pub url: String,
    /// What describes this server, besides its name (T021).
    pub resource: Vec<(String, String)>,
    /// Spans that may wait to be sent; more are dropped (T022).
    pub max_queue_size: NonZeroUsize,
    /// How long a span waits for others at most.
    pub schedule_delay: Duration,
    /// Spans sent together at most.
    pub max_export_batch_size: NonZeroUsize,
}

impl Default for OtlpOptions {
    fn default() -> Self {
        Self {
            url: "http://localhost:4318/v1/traces".to_owned(),
            resource: Vec::new(),
            max_queue_size: const { NonZeroUsize::new(2048).expect("not zero") },
            schedule_delay: Duration::from_millis(5000),
            max_export_batch_size: const { NonZeroUsize::new(512).expect("not zero") },
        }
    }
}

const SERVICE_NAME: &str = "service.name";
const DEFAULT_SERVICE_NAME: &str = "triton-inference-server";

impl OtlpOptions {
    /// Returns the resource with the name of the service, which has a default.
    pub(crate) fn resource(&self) -> Vec<(String, String)> {
        let mut resource = self.resource.clone();
        if resource.iter().all(|(name, _)| name != SERVICE_NAME) {
            resource.push((SERVICE_NAME.to_owned(), DEFAULT_SERVICE_NAME.to_owned()));
        }
        resource
    }

    pub(crate) fn check(&self) -> Result<()> {
        let uri = ureq::http::Uri::try_from(&self.url).map_err(|source| {
            Error::invalid_arg(format!("invalid OpenTelemetry url '{}'", self.url))
                .with_source(source)
        })?;
        if uri.scheme_str() != Some("http") || uri.host().is_none() {
            return Err(Error::invalid_arg(format!(
                "OpenTelemetry url '{}' must begin with 'http://': traces go to a collector \
                 unencrypted",
                self.url
            )));
        }
        if self.max_export_batch_size > self.max_queue_size {
            return Err(Error::invalid_arg(format!(
                "bsp_max_export_batch_size {} must not be greater than bsp_max_queue_size {}",
                self.max_export_batch_size, self.max_queue_size
            )));
        }
        Ok(())
    }

    /// Returns the settings as clients see them (P099).
    pub(crate) fn settings(&self) -> Vec<(&'static str, Vec<String>)> {
        let resource = self.resource();
        let resource = resource
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        vec![
            ("url", vec![self.url.clone()]),
            ("resource", resource.collect()),
            ("bsp_max_queue_size", vec![self.max_queue_size.to_string()]),
            (
                "bsp_schedule_delay",
                vec![self.schedule_delay.as_millis().to_string()],
            ),
            (
                "bsp_max_export_batch_size",
                vec![self.max_export_batch_size.to_string()],
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_url(url: &str) -> OtlpOptions {
        OtlpOptions {
            url: url.to_owned(),
            ..OtlpOptions::default()
        }
    }

    #[test]
    fn only_http_addresses_can_be_sent_to() {
        OtlpOptions::default().check().expect("the default");
        for url in [
            "",
            "localhost:4318",
            "https://collector/v1/traces",
            "http://",
            "http://a b",
        ] {
            with_url(url).check().expect_err(url);
        }
    }

    #[test]
    fn a_batch_fits_the_queue() {
        let options = OtlpOptions {
            max_queue_size: NonZeroUsize::MIN,
            ..OtlpOptions::default()
        };
        options.check().expect_err("512 spans do not fit");
    }

    #[test]
    fn the_service_has_a_name() {
        let mut options = OtlpOptions {
            resource: vec![("a".to_owned(), "b=c".to_owned())],
            ..OtlpOptions::default()
        };
        let shown = |options: &OtlpOptions| options.settings()[1].1.join(" ");
        assert_eq!(
            shown(&options),
            "a=b=c service.name=triton-inference-server"
        );
        options.resource = vec![("service.name".to_owned(), "mine".to_owned())];
        assert_eq!(shown(&options), "service.name=mine");
    }
}
