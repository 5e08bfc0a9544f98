// SPDX-License-Identifier: Apache-2.0

/// Returns the candidate that `word` was probably meant to be.
///
/// Differences in case and between `-` and `_` do not count; beyond that, a third of the letters
/// may differ.
pub(crate) fn nearest(word: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    let word = fold(word);
    let limit = (word.len() / 3).max(1);
    candidates
        .map(|candidate| (distance(&word, &fold(&candidate)), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

fn fold(word: &str) -> Vec<char> {
    word.chars()
        .map(|c| {
            if c == '-' {
                '_'
            } else {
                c.to_ascii_lowercase()
            }
        })
        .collect()
}

/// Number of letters to insert, delete, replace or swap with their neighbour.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut current = vec![i];
        for j in 1..=b.len() {
            let replace = previous[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(previous[j] + 1).min(current[j - 1] + 1);
            let is_swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if is_swap {
                best = best.min(before[j - 2] + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut previous, current);
    }
    previous[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suggest(word: &str) -> Option<String> {
        let candidates = [
            "input",
            "max_batch_size",
            "output",
            "platform",
            "parameters",
        ];
        nearest(word, candidates.into_iter().map(str::to_owned))
    }

    #[test]
    fn finds_what_was_meant() {
        assert_eq!(suggest("inputs").as_deref(), Some("input"));
        assert_eq!(suggest("max-batch-size").as_deref(), Some("max_batch_size"));
        assert_eq!(suggest("maxBatchSize").as_deref(), Some("max_batch_size"));
        assert_eq!(suggest("platfrom").as_deref(), Some("platform"));
        assert_eq!(suggest("Output").as_deref(), Some("output"));
    }

    #[test]
    fn is_silent_when_nothing_is_near() {
        assert_eq!(suggest("scheduling"), None);
        assert_eq!(suggest(""), None);
    }
}
