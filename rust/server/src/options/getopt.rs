// SPDX-License-Identifier: Apache-2.0
//! What Triton's `getopt_long` does with a command line before values are looked at (C001):
//! prefixes are completed, values join their option, what is neither is left over.

/// An option as far as splitting the line needs it.
#[derive(Clone, Debug)]
pub(crate) struct OptionName {
    pub(crate) name: String,
    pub(crate) takes_value: bool,
}

/// A command line in one form: every option is `--name` or `--name=value`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SplitLine {
    pub(crate) options: Vec<String>,
    pub(crate) positionals: Vec<String>,
}

/// Splits `args`.
///
/// # Errors
/// The first thing that is no option, in `getopt_long`'s words.
pub(crate) fn split(args: &[String], known: &[OptionName]) -> Result<SplitLine, String> {
    let mut line = SplitLine::default();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if arg == "--" {
            line.positionals.extend(rest.cloned());
            break;
        }
        if let Some(text) = arg.strip_prefix("--") {
            let option = complete(arg, text, known)?;
            let value =
                match text.split_once('=') {
                    Some((_, value)) => Some(value.to_owned()),
                    None if option.takes_value => Some(rest.next().cloned().ok_or_else(|| {
                        format!("option '--{}' requires an argument", option.name)
                    })?),
                    None => None,
                };
            line.options.push(joined(option, value)?);
        } else if let Some(letter) = arg.strip_prefix('-').and_then(|text| text.chars().next()) {
            return Err(format!("invalid option -- '{letter}'"));
        } else {
            line.positionals.push(arg.clone());
        }
    }
    Ok(line)
}

fn joined(option: &OptionName, value: Option<String>) -> Result<String, String> {
    let name = &option.name;
    match value {
        Some(_) if !option.takes_value => {
            Err(format!("option '--{name}' doesn't allow an argument"))
        }
        Some(value) => Ok(format!("--{name}={value}")),
        None => Ok(format!("--{name}")),
    }
}

/// Finds the option that `text`, less its value, names or begins.
fn complete<'a>(arg: &str, text: &str, known: &'a [OptionName]) -> Result<&'a OptionName, String> {
    let name = text.split_once('=').map_or(text, |(name, _)| name);
    if let Some(exact) = known.iter().find(|option| option.name == name) {
        return Ok(exact);
    }
    let candidates: Vec<_> = known
        .iter()
        .filter(|option| option.name.starts_with(name))
        .collect();
    match candidates.as_slice() {
        [] => Err(format!("unrecognized option '--{name}'")),
        [only] => Ok(only),
        several => {
            let names: Vec<_> = several.iter().map(|o| format!("'--{}'", o.name)).collect();
            Err(format!(
                "option '{arg}' is ambiguous; possibilities: {}",
                names.join(" ")
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_words(line: &str) -> Result<SplitLine, String> {
        let known = [
            ("id", true),
            ("http-port", true),
            ("http-address", true),
            ("strict", false),
        ]
        .map(|(name, takes_value)| OptionName {
            name: name.to_owned(),
            takes_value,
        });
        let args: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        split(&args, &known)
    }

    #[test]
    fn values_join_their_option_whatever_they_look_like() {
        let line =
            split_words("--id a --http-port=1 left --id --strict --strict over").expect("valid");
        let expected = ["--id=a", "--http-port=1", "--id=--strict", "--strict"];
        assert_eq!(line.options, expected);
        assert_eq!(line.positionals, ["left", "over"]);
    }

    #[test]
    fn prefixes_are_completed_when_one_option_begins_so() {
        assert_eq!(
            split_words("--http-p 1 --i=2").expect("valid").options,
            ["--http-port=1", "--id=2"]
        );
        assert_eq!(
            split_words("--http=1"),
            Err(
                "option '--http=1' is ambiguous; possibilities: '--http-port' '--http-address'"
                    .to_owned()
            )
        );
    }

    #[test]
    fn what_follows_two_dashes_is_no_option() {
        let line = split_words("--strict -- --id").expect("valid");
        assert_eq!(line.positionals, ["--id"]);
    }

    #[test]
    fn refusals_are_getopts() {
        for (line, expected) in [
            ("--nonsense=1", "unrecognized option '--nonsense'"),
            ("--http-port", "option '--http-port' requires an argument"),
            (
                "--strict=true",
                "option '--strict' doesn't allow an argument",
            ),
            ("-x", "invalid option -- 'x'"),
        ] {
            assert_eq!(split_words(line), Err(expected.to_owned()), "{line}");
        }
    }
}
