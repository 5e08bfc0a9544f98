// SPDX-License-Identifier: Apache-2.0
//! On which cores an instance and all that it starts run (C094, M056, S092).
//!
//! A policy is set on the thread that makes an instance, before the backend is called; the threads
//! and processes that begin there inherit it. Memory needs no policy of its own: the kernel takes
//! it from the NUMA node of the core that first writes to it.

use std::collections::BTreeMap;
use std::fs;

use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_setaffinity};
use tritongw_types::{Error, Result};

/// Settings of one policy, `numa-node` and `cpu-cores`.
pub type HostPolicySettings = BTreeMap<String, String>;

/// The host policies by name.
#[derive(Debug, Default)]
pub(crate) struct HostPolicies(BTreeMap<String, HostPolicySettings>);

impl HostPolicies {
    pub(crate) fn new(policies: BTreeMap<String, HostPolicySettings>) -> Self {
        Self(policies)
    }

    /// Binds the calling thread to the cores that a policy says; returns whether it says any.
    ///
    /// # Errors
    /// `InvalidArg` if a value cannot be read, `Internal` if the machine has no such node, or none
    /// of the cores.
    pub(crate) fn bind_this_thread(&self, name: &str) -> Result<bool> {
        let Some(settings) = self.0.get(name) else {
            return Ok(false);
        };
        let of_node = settings.get("numa-node").map(|node| cores_of_node(node));
        let of_node = of_node.transpose()?;
        let given = settings.get("cpu-cores").map(|cores| read_cores(cores));
        let given = given.transpose()?;
        let Some(ranges) = given.or(of_node) else {
            return Ok(false);
        };
        bind(&ranges).map_err(|errno| {
            let reason = reason(errno);
            let message = format!("Unable to set NUMA thread affinity: {reason}");
            Error::internal(message).with_source(errno)
        })?;
        Ok(true)
    }
}

/// The first and the last of some cores in a row.
type Range = (usize, usize);

fn bind(ranges: &[Range]) -> Result<(), Errno> {
    let mut cores = CpuSet::new();
    for &(first, last) in ranges {
        for core in first..=last.min(CpuSet::MAX_CPU - 1) {
            cores.set(core);
        }
    }
    sched_setaffinity(None, &cores)
}

/// Reads `<lower>-<upper>[,<lower>-<upper>]…`.
fn read_cores(text: &str) -> Result<Vec<Range>> {
    let range = |part: &str| {
        let (lower, upper) = part.split_once('-').ok_or_else(|| {
            Error::invalid_arg(format!(
                "host policy setting 'cpu-cores' format is \
                 '<lower_cpu_core_id>-<upper_cpu_core_id>'. Got {part}"
            ))
        })?;
        let core = |text: &str| integer("cpu-cores", text);
        Ok((core(lower)?, core(upper)?))
    };
    text.split(',').map(range).collect()
}

fn integer(setting: &str, text: &str) -> Result<usize> {
    text.parse().map_err(|source: std::num::ParseIntError| {
        let message = format!("Parsing '{setting}' value: Can't parse '{text}' to integer");
        Error::invalid_arg(message).with_source(source)
    })
}

/// Returns the cores of a NUMA node.
fn cores_of_node(text: &str) -> Result<Vec<Range>> {
    let missing = || {
        let reason = reason(Errno::INVAL);
        Error::internal(format!("Unable to set NUMA memory policy: {reason}"))
    };
    // A negative number names no node, but is a number.
    let magnitude = integer("numa-node", text.strip_prefix('-').unwrap_or(text))?;
    if text.starts_with('-') {
        return Err(missing());
    }
    let path = format!("/sys/devices/system/node/node{magnitude}/cpulist");
    let list = fs::read_to_string(path).map_err(|_| missing())?;
    let ranges = list.trim().split(',').filter(|part| !part.is_empty());
    ranges
        .map(|part| listed_range(part).ok_or_else(missing))
        .collect()
}

/// Reads a range as the kernel writes it: `4` or `0-3`.
fn listed_range(text: &str) -> Option<Range> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// Returns the C library's text of an error.
fn reason(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use rustix::thread::sched_getaffinity;

    use super::*;

    fn policy(settings: &[(&str, &str)]) -> HostPolicies {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let settings = settings.iter().map(owned).collect();
        HostPolicies::new([("p".to_owned(), settings)].into())
    }

    /// Binds a thread of its own; returns its cores.
    fn cores_under(settings: &[(&str, &str)]) -> Result<Option<Vec<usize>>> {
        let policies = policy(settings);
        let bound = std::thread::spawn(move || {
            let is_bound = policies.bind_this_thread("p")?;
            let cores = sched_getaffinity(None).expect("readable");
            let cores = (0..CpuSet::MAX_CPU).filter(|&core| cores.is_set(core));
            Ok(is_bound.then(|| cores.collect()))
        });
        bound.join().expect("no panic")
    }

    /// Returns a core that this process may use.
    fn some_core() -> usize {
        let cores = sched_getaffinity(None).expect("readable");
        (0..CpuSet::MAX_CPU)
            .rfind(|&core| cores.is_set(core))
            .expect("it runs on one")
    }

    #[test]
    fn a_thread_is_bound_to_the_cores_of_its_policy() {
        let core = some_core();
        let list = format!("{core}-{core}");
        let cores = cores_under(&[("cpu-cores", &list)]).expect("there is such a core");
        assert_eq!(cores, Some(vec![core]));
        // Of cores that the machine has not the others count.
        let list = format!("900-901,{list}");
        let cores = cores_under(&[("cpu-cores", &list)]).expect("there is such a core");
        assert_eq!(cores, Some(vec![core]));
    }

    #[test]
    fn a_policy_without_settings_binds_nothing() {
        assert_eq!(cores_under(&[]).expect("nothing to read"), None);
        let is_bound = policy(&[("cpu-cores", "x")]).bind_this_thread("other");
        assert!(!is_bound.expect("not looked at"));
    }

    #[test]
    fn a_node_stands_for_its_cores_unless_these_are_said() {
        let Ok(list) = fs::read_to_string("/sys/devices/system/node/node0/cpulist") else {
            return; // A kernel without NUMA.
        };
        let of_node: Vec<_> = list.trim().split(',').filter_map(listed_range).collect();
        let cores = cores_under(&[("numa-node", "0")]).expect("there is one");
        let in_node = |core: &usize| {
            of_node
                .iter()
                .any(|(first, last)| (first..=last).contains(&core))
        };
        assert!(of_node.is_empty() || cores.expect("bound").iter().all(in_node));
        let core = some_core();
        let list = format!("{core}-{core}");
        let both = [("numa-node", "0"), ("cpu-cores", list.as_str())];
        assert_eq!(cores_under(&both).expect("there are"), Some(vec![core]));
    }

    #[test]
    fn errors_are_tritons() {
        let format = "host policy setting 'cpu-cores' format is \
                      '<lower_cpu_core_id>-<upper_cpu_core_id>'. Got ";
        let table = [
            (("cpu-cores", "1"), format!("{format}1")),
            (("cpu-cores", "0-1,"), format.to_owned()),
            (
                ("cpu-cores", "a-b"),
                "Parsing 'cpu-cores' value: Can't parse 'a' to integer".to_owned(),
            ),
            (
                ("cpu-cores", "-1-1"),
                "Parsing 'cpu-cores' value: Can't parse '' to integer".to_owned(),
            ),
            (
                ("cpu-cores", "900-901"),
                "Unable to set NUMA thread affinity: Invalid argument".to_owned(),
            ),
            (
                ("cpu-cores", "1-0"),
                "Unable to set NUMA thread affinity: Invalid argument".to_owned(),
            ),
            (
                ("numa-node", "x"),
                "Parsing 'numa-node' value: Can't parse 'x' to integer".to_owned(),
            ),
            (
                ("numa-node", "9999"),
                "Unable to set NUMA memory policy: Invalid argument".to_owned(),
            ),
            (
                ("numa-node", "-1"),
                "Unable to set NUMA memory policy: Invalid argument".to_owned(),
            ),
        ];
        for (setting, expected) in table {
            let error = cores_under(&[setting]).expect_err("refused");
            assert_eq!(error.message(), expected, "{setting:?}");
        }
    }
}
