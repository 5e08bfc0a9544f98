// SPDX-License-Identifier: Apache-2.0
//! Quantiles of a stream in little memory, each within its own error: the targeted quantiles of
//! Cormode, Korn, Muthukrishnan and Srivastava, "Effective Computation of Biased Quantiles over
//! Data Streams" (2005).

/// Values gathered before they are merged into the sketch.
const BUFFER_LEN: usize = 256;

/// A quantile and how far the rank of its answer may be off, as a share of all values (X040).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantile {
    /// Which quantile, above 0 and below 1.
    pub quantile: f64,
    /// The error allowed, above 0 and below 1.
    pub error: f64,
}

/// Some values, represented by the largest of them.
#[derive(Clone, Copy, Debug)]
struct Sample {
    value: f64,
    /// How many values it stands for.
    width: u64,
    /// By how much the rank of `value` may be higher than the widths before it say.
    delta: u64,
}

/// Answers the quantiles it was made for.
#[derive(Clone, Debug)]
pub(crate) struct QuantileSketch {
    targets: Vec<Quantile>,
    samples: Vec<Sample>,
    buffer: Vec<f64>,
    // Values in `samples`.
    count: u64,
}

impl QuantileSketch {
    pub(crate) fn new(targets: Vec<Quantile>) -> Self {
        Self {
            targets,
            samples: Vec::new(),
            buffer: Vec::new(),
            count: 0,
        }
    }

    /// Adds a value, which must not be NaN.
    pub(crate) fn insert(&mut self, value: f64) {
        self.buffer.push(value);
        if self.buffer.len() == BUFFER_LEN {
            self.flush();
        }
    }

    /// Forgets every value.
    pub(crate) fn clear(&mut self) {
        self.samples.clear();
        self.buffer.clear();
        self.count = 0;
    }

    /// Returns a value whose rank is within the error of `quantile`, `None` without values.
    pub(crate) fn query(&mut self, quantile: f64) -> Option<f64> {
        self.flush();
        let target = (quantile * self.count as f64).ceil();
        let allowed = target + self.allowance(target) / 2.0;
        let (first, rest) = self.samples.split_first()?;
        let mut answer = first;
        let mut rank = 0;
        for sample in rest {
            rank += answer.width;
            if (rank + sample.width + sample.delta) as f64 > allowed {
                return Some(answer.value);
            }
            answer = sample;
        }
        Some(answer.value)
    }

    /// Returns how uncertain a rank may be so that every target keeps its error.
    fn allowance(&self, rank: f64) -> f64 {
        let count = self.count as f64;
        let of_target = |target: &Quantile| {
            if rank >= target.quantile * count {
                2.0 * target.error * rank / target.quantile
            } else {
                2.0 * target.error * (count - rank) / (1.0 - target.quantile)
            }
        };
        self.targets.iter().map(of_target).fold(count, f64::min)
    }

    /// Merges the gathered values into the samples, in one pass over both.
    fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let mut values = std::mem::take(&mut self.buffer);
        values.sort_unstable_by(f64::total_cmp);
        let samples = std::mem::take(&mut self.samples);
        let mut merged = Vec::with_capacity(samples.len() + values.len());
        let mut samples = samples.into_iter().peekable();
        let mut rank = 0;
        for &value in &values {
            while let Some(smaller) = samples.next_if(|sample| sample.value <= value) {
                rank += smaller.width;
                merged.push(smaller);
            }
            // At either end the rank is known.
            let is_within = rank > 0 && samples.peek().is_some();
            let allowance = self.allowance(rank as f64).floor() as u64;
            let delta = if is_within {
                allowance.saturating_sub(1)
            } else {
                0
            };
            merged.push(Sample {
                value,
                width: 1,
                delta,
            });
            self.count += 1;
            rank += 1;
        }
        merged.extend(samples);
        self.samples = self.compress(merged);
        values.clear();
        self.buffer = values;
    }

    /// Joins neighbours whose ranks need not be told apart.
    fn compress(&self, samples: Vec<Sample>) -> Vec<Sample> {
        let mut rank = self.count;
        let mut kept: Vec<Sample> = Vec::with_capacity(samples.len());
        for (index, sample) in samples.into_iter().enumerate().rev() {
            rank -= sample.width;
            match kept.last_mut() {
                // The smallest value stays, so that the lowest ranks stay known.
                Some(next)
                    if index > 0
                        && (sample.width + next.width + next.delta) as f64
                            <= self.allowance(rank as f64) =>
                {
                    next.width += sample.width;
                }
                _ => kept.push(sample),
            }
        }
        kept.reverse();
        kept
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TARGETS: [(f64, f64); 5] = [
        (0.5, 0.05),
        (0.9, 0.01),
        (0.95, 0.001),
        (0.99, 0.001),
        (0.999, 0.001),
    ];

    fn sketch() -> QuantileSketch {
        let target = |(quantile, error)| Quantile { quantile, error };
        QuantileSketch::new(TARGETS.map(target).to_vec())
    }

    /// Checks that the rank of each answer is where its target allows; a whole rank more or less
    /// is the grain of small numbers.
    fn check(values: &[f64]) -> Result<(), TestCaseError> {
        let mut sketch = sketch();
        values.iter().for_each(|&value| sketch.insert(value));
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let count = values.len() as f64;
        for (quantile, error) in TARGETS {
            let answer = sketch.query(quantile).expect("there are values");
            let lowest = sorted.partition_point(|&value| value < answer) as f64 + 1.0;
            let highest = sorted.partition_point(|&value| value <= answer) as f64;
            let (from, to) = ((quantile - error) * count, (quantile + error) * count);
            prop_assert!(
                highest >= from.floor() - 1.0 && lowest <= to.ceil() + 1.0,
                "{quantile}: {answer} has the ranks {lowest} to {highest} of {count}"
            );
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn answers_are_within_their_error(
            values in prop::collection::vec(0.0..1e9_f64, 1..4000),
        ) {
            check(&values)?;
        }

        #[test]
        fn order_and_repetition_do_not_matter(
            values in prop::collection::vec(0_u32..50, 1..4000),
            is_sorted in any::<bool>(),
        ) {
            let mut values: Vec<_> = values.into_iter().map(f64::from).collect();
            if is_sorted {
                values.sort_unstable_by(|a, b| b.total_cmp(a));
            }
            check(&values)?;
        }
    }

    #[test]
    fn memory_grows_far_more_slowly_than_the_stream() {
        let mut sketch = sketch();
        // A full cycle of a linear congruence visits every value once, in no order.
        let mut value = 1_u64;
        for _ in 0..200_000 {
            value = (value * 1_103_515_245 + 12_345) % (1 << 31);
            sketch.insert(value as f64);
        }
        sketch.flush();
        assert!(sketch.samples.len() < 5_000, "{}", sketch.samples.len());
        assert_eq!(sketch.samples.iter().map(|s| s.width).sum::<u64>(), 200_000);
    }

    #[test]
    fn without_values_there_is_no_answer() {
        let mut sketch = sketch();
        assert_eq!(sketch.query(0.5), None);
        sketch.insert(3.0);
        assert_eq!(sketch.query(0.5), Some(3.0));
        sketch.clear();
        assert_eq!(sketch.query(0.5), None);
    }
}
