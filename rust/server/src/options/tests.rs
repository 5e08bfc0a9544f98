// SPDX-License-Identifier: Apache-2.0
mod engine;
mod platforms;
mod services;
mod syntax;
mod table;

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::Parser;

use super::{Command, CommandLine, Refusal, ServeArgs, parse};

/// Parses options as clap does, without what `complete` checks.
fn args(options: &[&str]) -> ServeArgs {
    let head = ["tritongw", "serve"].iter();
    let Command::Serve(args) = CommandLine::try_parse_from(head.chain(options))
        .unwrap_or_else(|error| panic!("{options:?}: {error}"))
        .command;
    *args
}

fn parse_in(
    environment: &[(&str, &str)],
    options: &[&str],
) -> std::result::Result<Box<ServeArgs>, Refusal> {
    let environment: BTreeMap<_, _> = environment.iter().copied().collect();
    let head = ["tritongw", "serve", "--model-repository=models"];
    let args = head.iter().chain(options).map(OsString::from).collect();
    parse(args, &environment)
}

fn serve(options: &[&str]) -> Box<ServeArgs> {
    parse_in(&[], options).unwrap_or_else(|refusal| panic!("{options:?}: {refusal:?}"))
}

/// Returns the reason that comes after the table of options.
fn usage_reason(options: &[&str]) -> String {
    match parse_in(&[], options) {
        Err(Refusal::Usage(reason)) => reason,
        other => panic!("{options:?}: {other:?}"),
    }
}

fn options_reason(options: &[&str]) -> String {
    match parse_in(&[], options) {
        Err(Refusal::Options(reason)) => reason,
        other => panic!("{options:?}: {other:?}"),
    }
}
