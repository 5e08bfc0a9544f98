// SPDX-License-Identifier: Apache-2.0
//! Readers of single values; their refusals are Triton's texts.

/// Reads a truth value in any of Triton's spellings (C002).
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        _ => Err(format!("invalid value for bool option: {text}")),
    }
}

/// Reads a whole number that `T` can hold.
pub(crate) fn integer<T: TryFrom<i128>>(text: &str) -> Result<T, String> {
    let number: i128 = text
        .trim()
        .parse()
        .map_err(|_| format!("Invalid option value. Got {text}"))?;
    T::try_from(number).map_err(|_| format!("Provided option value is out of bound. Got {text}"))
}

/// Reads a number of things of which there is at least one.
pub(crate) fn positive<T: TryFrom<i128> + PartialOrd + Default>(text: &str) -> Result<T, String> {
    let number: T = integer(text)?;
    if number > T::default() {
        Ok(number)
    } else {
        Err(format!("value must be greater than 0. Got {text}"))
    }
}

/// Reads a finite number.
pub(crate) fn float(text: &str) -> Result<f64, String> {
    let number = text
        .trim()
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| format!("Invalid option value. Got {text}"))
}

/// Reads milliseconds; a fraction is cut off, as Triton does for `--metrics-interval-ms` (C079).
pub(crate) fn whole_milliseconds(text: &str) -> Result<u64, String> {
    let number = float(text)?.trunc();
    if (1.0..=f64::from(i32::MAX)).contains(&number) {
        Ok(number as u64)
    } else {
        Err(format!("Provided option value is out of bound. Got {text}"))
    }
}

/// Reads verbosity, a level or a truth value (C018); a negative level is none.
pub(crate) fn verbosity(text: &str) -> Result<u32, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" => Ok(1),
        "false" | "off" => Ok(0),
        _ => integer::<i32>(text).map(|level| u32::try_from(level).unwrap_or(0)),
    }
}

/// Reads two values with `delimiter` between them.
pub(crate) fn pair<A, B>(
    text: &str,
    delimiter: char,
    first: impl Fn(&str) -> Result<A, String>,
    second: impl Fn(&str) -> Result<B, String>,
) -> Result<(A, B), String> {
    let (left, right) = text.split_once(delimiter).ok_or_else(|| {
        format!(
            "Cannot parse pair option due to incorrect number of inputs.--<pair option> argument \
             requires format <first>{delimiter}<second>. Found: {text}"
        )
    })?;
    Ok((first(left)?, second(right)?))
}

/// One `[<scope>,]<setting>=<value>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Backend, cache, mode or policy; empty for all.
    pub(crate) scope: String,
    pub(crate) name: String,
    pub(crate) value: String,
}

impl Setting {
    /// Reads a setting whose scope may be left out; `None` if it is malformed. Commas in the value
    /// belong to it.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (scope, rest) = match text.split_once(',') {
            Some((scope, rest)) if !scope.contains('=') => (scope, rest),
            _ => ("", text),
        };
        let (name, value) = rest.split_once('=')?;
        let is_complete = !name.is_empty() && !value.is_empty();
        is_complete.then(|| Self {
            scope: scope.to_owned(),
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_do_not_fit_are_told_from_what_is_no_number() {
        assert_eq!(integer::<u16>("8000"), Ok(8000));
        assert_eq!(
            integer::<u16>("abc"),
            Err("Invalid option value. Got abc".to_owned())
        );
        for text in ["65536", "-1", "99999999999"] {
            let expected = format!("Provided option value is out of bound. Got {text}");
            assert_eq!(integer::<u16>(text), Err(expected));
        }
        assert_eq!(
            integer::<u16>("80x"),
            Err("Invalid option value. Got 80x".to_owned())
        );
    }

    #[test]
    fn verbosity_is_a_level_or_a_truth_value() {
        for (text, expected) in [("true", 1), ("Off", 0), ("3", 3), ("-1", 0)] {
            assert_eq!(verbosity(text), Ok(expected), "{text}");
        }
        assert_eq!(
            verbosity("maybe"),
            Err("Invalid option value. Got maybe".to_owned())
        );
    }

    #[test]
    fn an_interval_may_be_written_as_a_fraction() {
        assert_eq!(whole_milliseconds("1000.9"), Ok(1000));
        whole_milliseconds("0").expect_err("no interval");
        whole_milliseconds("inf").expect_err("no number");
    }

    #[test]
    fn settings_keep_commas_of_their_value() {
        let setting = |scope: &str, name: &str, value: &str| Setting {
            scope: scope.to_owned(),
            name: name.to_owned(),
            value: value.to_owned(),
        };
        assert_eq!(Setting::read("a,b=c,d=e"), Some(setting("a", "b", "c,d=e")));
        assert_eq!(
            Setting::read("b=0.5:0.1,0.9:0.1"),
            Some(setting("", "b", "0.5:0.1,0.9:0.1"))
        );
        for text in ["a", "a,b", "a,=c", "a,b="] {
            assert_eq!(Setting::read(text), None, "{text}");
        }
    }
}
