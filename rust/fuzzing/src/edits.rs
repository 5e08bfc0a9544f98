// SPDX-License-Identifier: Apache-2.0
use std::ops::Range;

use bolero::TypeGenerator;

/// Edits made to one input at most; a few faults at a time reach further than many.
const MOST: usize = 6;
/// Inputs do not grow beyond this.
const LARGEST: usize = 1 << 16;

/// Pieces that formats treat in their own ways.
const WORDS: [&[u8]; 24] = [
    b"0",
    b"-1",
    b"1e999",
    b"2147483648",
    b"9223372036854775807",
    b"18446744073709551616",
    b"NaN",
    b"null",
    b"true",
    b"\"\"",
    b"{}",
    b"[]",
    b"[[",
    b"{\"",
    b"\\u0000",
    b"\\ud800",
    b"\r\n",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xc3\x28",
    b"../",
    b"%00",
];

/// What becomes of a seed.
#[derive(Clone, Debug, TypeGenerator)]
pub struct Edits {
    seed: u16,
    edits: Vec<Edit>,
}

#[derive(Clone, Debug, TypeGenerator)]
struct Edit {
    kind: Kind,
    place: u16,
    length: u8,
    value: u16,
}

#[derive(Clone, Copy, Debug, TypeGenerator)]
enum Kind {
    FlipBit,
    SetByte,
    AddToByte,
    Remove,
    Repeat,
    Insert,
    InsertWord,
    ReplaceByWord,
    ReplaceNumber,
    Splice,
    Cut,
}

/// Chooses among the seeds.
pub(crate) type Pick<'a> = dyn Fn(u16) -> &'a [u8] + 'a;

impl Edits {
    pub(crate) fn apply(&self, pick: &Pick<'_>) -> Vec<u8> {
        let mut data = pick(self.seed).to_vec();
        for edit in self.edits.iter().take(MOST) {
            edit.apply(&mut data, pick);
            data.truncate(LARGEST);
        }
        data
    }
}

impl Edit {
    fn apply(&self, data: &mut Vec<u8>, pick: &Pick<'_>) {
        let place = usize::from(self.place) % (data.len() + 1);
        let range = place..(place + usize::from(self.length) % 16).min(data.len());
        let word = WORDS[usize::from(self.value) % WORDS.len()];
        let [low, high] = self.value.to_le_bytes();
        match self.kind {
            Kind::FlipBit => change(data, place, |byte| byte ^ (1 << (low % 8))),
            Kind::SetByte => change(data, place, |_| low),
            Kind::AddToByte => change(data, place, |byte| byte.wrapping_add(low % 16)),
            Kind::Remove => drop(data.drain(range)),
            Kind::Repeat => {
                let piece = data[range].repeat(1 + usize::from(high) % 8);
                insert(data, place, &piece);
            }
            Kind::Insert => insert(data, place, &vec![low; usize::from(self.length)]),
            Kind::InsertWord => insert(data, place, word),
            Kind::ReplaceByWord => drop(data.splice(range, word.iter().copied())),
            Kind::ReplaceNumber => {
                let number = number_from(data, place);
                drop(data.splice(number, word.iter().copied()));
            }
            Kind::Splice => {
                let other = pick(self.value);
                let from = usize::from(self.length) * other.len() / 256;
                data.truncate(place);
                data.extend_from_slice(&other[from..]);
            }
            Kind::Cut => data.truncate(place),
        }
    }
}

fn change(data: &mut [u8], place: usize, new: impl FnOnce(u8) -> u8) {
    if let Some(byte) = data.get_mut(place) {
        *byte = new(*byte);
    }
}

fn insert(data: &mut Vec<u8>, place: usize, piece: &[u8]) {
    data.splice(place..place, piece.iter().copied());
}

/// Returns where the next number in decimal digits stands at or after `place`, empty if there is
/// none.
fn number_from(data: &[u8], place: usize) -> Range<usize> {
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let start = place + data[place..].iter().take_while(|b| !is_digit(b)).count();
    let length = data[start..].iter().take_while(|b| is_digit(b)).count();
    start..start + length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(kind: Kind, place: u16, length: u8, value: u16) -> Vec<u8> {
        let edit = Edit {
            kind,
            place,
            length,
            value,
        };
        let edits = Edits {
            seed: 0,
            edits: vec![edit],
        };
        edits.apply(&|choice| [&b"abc 42"[..], b"other"][usize::from(choice)])
    }

    #[test]
    fn each_edit_does_what_it_is_called() {
        assert_eq!(edited(Kind::FlipBit, 0, 0, 1), b"cbc 42");
        assert_eq!(edited(Kind::SetByte, 1, 0, 0x78), b"axc 42");
        assert_eq!(edited(Kind::AddToByte, 2, 0, 1), b"abd 42");
        assert_eq!(edited(Kind::Remove, 1, 2, 0), b"a 42");
        assert_eq!(edited(Kind::Repeat, 0, 2, 0x100), b"abababc 42");
        assert_eq!(edited(Kind::Insert, 6, 2, 0x21), b"abc 42!!");
        assert_eq!(edited(Kind::InsertWord, 0, 0, 1), b"-1abc 42");
        assert_eq!(edited(Kind::ReplaceByWord, 0, 3, 7), b"null 42");
        assert_eq!(edited(Kind::ReplaceNumber, 1, 0, 1), b"abc -1");
        assert_eq!(edited(Kind::Splice, 3, 128, 1), b"abcher");
        assert_eq!(edited(Kind::Cut, 2, 0, 0), b"ab");
    }

    #[test]
    fn nothing_reaches_beyond_the_input() {
        bolero::check!()
            .with_iterations(2000)
            .with_type::<Edits>()
            .for_each(|edits| {
                let seeds: [&[u8]; 2] = [b"", b"ab1"];
                let pick = |choice: u16| seeds[usize::from(choice) % 2];
                assert!(edits.apply(&pick).len() <= LARGEST);
            });
    }
}
