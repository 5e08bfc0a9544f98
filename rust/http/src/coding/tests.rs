// SPDX-License-Identifier: Apache-2.0
use std::future::Future;

use hyper::header::HeaderName;

use super::*;

const BOTH: [ContentCoding; 2] = [ContentCoding::Gzip, ContentCoding::Deflate];

fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(future)
}

fn packed(coding: ContentCoding, data: &[u8]) -> Vec<u8> {
    wait(pack(coding, &[data])).expect("memory takes all")
}

fn unpack(coding: ContentCoding, pieces: &[&[u8]], limit: usize) -> Result<Vec<u8>, String> {
    wait(async {
        let mut unpacker = Unpacker::new(coding, limit);
        for piece in pieces {
            unpacker.feed(piece).await?;
        }
        unpacker.finish().await
    })
    .map_err(|error| error.message().to_owned())
}

fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(name, value.parse().expect("a header value"));
    }
    headers
}

#[test]
fn what_was_packed_comes_back_in_any_pieces() {
    let data: Vec<u8> = (0..300_000_u32)
        .flat_map(|n| n.wrapping_mul(n).to_le_bytes())
        .collect();
    for coding in BOTH {
        let small = packed(coding, b"tensor");
        let single: Vec<&[u8]> = small.chunks(1).collect();
        assert_eq!(unpack(coding, &single, 6), Ok(b"tensor".to_vec()));
        let large = packed(coding, &data);
        let pieces: Vec<&[u8]> = large.chunks(10_000).collect();
        assert_eq!(unpack(coding, &pieces, data.len()).as_ref(), Ok(&data));
        assert_eq!(unpack(coding, &[&packed(coding, b"")], 0), Ok(Vec::new()));
    }
}

#[test]
fn a_bomb_stops_at_the_limit() {
    for coding in BOTH {
        let bomb = packed(coding, &vec![0; 32 << 20]);
        assert!(bomb.len() < 1 << 20);
        let message = unpack(coding, &[&bomb], 1 << 20).expect_err("too large");
        assert!(message.contains("1048576 bytes"), "{message}");
        assert!(message.contains("--http-max-input-size"), "{message}");
    }
}

#[test]
fn memory_stays_near_what_is_there() {
    wait(async {
        let body = vec![7; 300_000];
        let packed = pack(ContentCoding::Gzip, &[&body[..]])
            .await
            .expect("packs");
        let mut unpacker = Unpacker::new(ContentCoding::Gzip, 400_000);
        unpacker.feed(&packed).await.expect("unpacks");
        assert!(
            unpacker.data.capacity() <= 400_000,
            "{}",
            unpacker.data.capacity()
        );
    });
}

#[test]
fn broken_bodies_are_refused() {
    for coding in BOTH {
        let good = packed(coding, b"some tensor data");
        assert_eq!(
            unpack(coding, &[&good[..good.len() - 1]], 100),
            Err("compressed request body is cut off".to_owned())
        );
        assert_eq!(
            unpack(coding, &[], 100),
            Err("compressed request body is cut off".to_owned())
        );
        let corrupt = Err("failed to decompress the request body".to_owned());
        assert_eq!(
            unpack(coding, &[b"plain text, not compressed"], 100),
            corrupt
        );
        let mut wrong_sum = good.clone();
        let last = wrong_sum.len() - 5;
        wrong_sum[last] ^= 1;
        unpack(coding, &[&wrong_sum], 100).expect_err("the check sum is wrong");
        unpack(coding, &[&good, b"junk"], 100).expect_err("something follows");
    }
}

#[test]
fn gzip_may_have_several_members() {
    let (first, second) = (
        packed(ContentCoding::Gzip, b"one"),
        packed(ContentCoding::Gzip, b"two"),
    );
    assert_eq!(
        unpack(ContentCoding::Gzip, &[&first, &second], 6),
        Ok(b"onetwo".to_vec())
    );
}

#[test]
fn request_codings() {
    let of = |values: &[&str]| ContentCoding::of_request(&headers(&CONTENT_ENCODING, values));
    assert_eq!(of(&[]), Ok(None));
    assert_eq!(of(&["identity"]), Ok(None));
    assert_eq!(of(&["gzip"]), Ok(Some(ContentCoding::Gzip)));
    assert_eq!(of(&["GZip"]), Ok(Some(ContentCoding::Gzip)));
    assert_eq!(of(&["deflate"]), Ok(Some(ContentCoding::Deflate)));
    for other in [&["br"][..], &[""], &["gzip, deflate"], &["gzip", "gzip"]] {
        assert_eq!(of(other), Err(UnknownCoding), "{other:?}");
    }
}

#[test]
fn the_client_weighs_response_codings() {
    let choose = |value: &str| ContentCoding::for_response(&headers(&ACCEPT_ENCODING, &[value]));
    let (gzip, deflate) = (Some(ContentCoding::Gzip), Some(ContentCoding::Deflate));
    for (value, expected) in [
        ("gzip", gzip),
        ("deflate", deflate),
        ("gzip, deflate", gzip),
        ("deflate, gzip", deflate),
        ("gzip;q=0.5, deflate;q=0.8", deflate),
        ("gzip; q=0.5 , deflate;q=0.1", gzip),
        ("gzip;q=0", None),
        ("gzip;q=abc", None),
        ("*", None),
        ("identity, gzip", None),
        ("identity;q=0.5, gzip", gzip),
        ("*;q=0, gzip", gzip),
        ("br, zstd", None),
        ("", None),
    ] {
        assert_eq!(choose(value), expected, "{value}");
    }
    assert_eq!(ContentCoding::for_response(&HeaderMap::new()), None);
}
