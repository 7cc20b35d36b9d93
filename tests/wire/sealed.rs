//! The vectors of sealed frames, and a second reading of how they are made.

use std::net::SocketAddr;
use std::sync::Arc;

use quorate::seal::{Cipher, KeyRing, LifeSecret, Sealer, SealerConfig, Secret};
use quorate::time::Instant;
use quorate::types::ServerId;
use quorate::wire::{DropCause, HEADER_BYTES};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac::{HMAC_SHA256, Key, sign};

use super::document::{self, Vector, Vectors, hex};
use super::samples::{self, GENESIS};
use super::{encode, readable};

/// The causes for which only sealed datagrams are dropped: the vectors here show them.
pub const CAUSES: [DropCause; 3] = [DropCause::Seal, DropCause::Replay, DropCause::Session];

const CLUSTER: &str = "quorate";
const ELSEWHERE: &str = "prod-b";
const NOW: Instant = Instant(1_000_000);

/// The datagrams that bring a name, and which.
const NAMED: [(&str, &str); 3] =
    [("hello", CLUSTER), ("hello-elsewhere", ELSEWHERE), ("mismatch", CLUSTER)];

fn key() -> [u8; 32] {
    std::array::from_fn(|at| u8::try_from(at).expect("it is small"))
}

fn address(of: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 8], 40_000 + of))
}

fn sealer(own: u16) -> Sealer {
    sealer_of(CLUSTER, own)
}

fn sealer_of(cluster: &str, own: u16) -> Sealer {
    let keys = KeyRing::parse(&format!("node 1 {}", hex(&key()))).expect("it is a key");
    let config = SealerConfig { own: ServerId(own), cluster: cluster.into(), cipher: Cipher::Aes };
    let life = [u8::try_from(own).expect("it is small") + 1; 32];
    Sealer::new(config, Arc::new(keys), LifeSecret::new(&Secret::new(life)))
}

/// A client and node 1, that knows when the cluster was born.
fn sides() -> (Sealer, Sealer) {
    let mut node = sealer(1);
    node.set_genesis(GENESIS);
    (sealer(0), node)
}

fn question() -> Vec<u8> {
    let frames = samples::frames();
    encode(&frames.into_iter().find(|(name, _)| *name == "read-get").expect("a sample").1)
}

/// The three datagrams of a handshake, and the frame that it was for.
fn said() -> [Vec<u8>; 4] {
    let (mut client, mut node) = sides();
    let (of_client, of_node) = (address(0), address(1));
    assert!(!client.seal(NOW, of_node, &mut question()), "there is no session yet");
    let next = |sealer: &mut Sealer| sealer.poll_send().expect("it says something").1;
    let hello = next(&mut client);
    assert_eq!(node.open(NOW, of_client, &mut hello.clone()), Ok(None));
    let welcome = next(&mut node);
    assert_eq!(client.open(NOW, of_node, &mut welcome.clone()), Ok(None));
    [hello, welcome, next(&mut client), next(&mut client)]
}

/// What a node of another cluster says to node 1, and the answer.
fn said_to_another_cluster() -> [Vec<u8>; 2] {
    let (mut stranger, (_, mut node)) = (sealer_of(ELSEWHERE, 2), sides());
    let mut frame = question();
    frame[14..16].copy_from_slice(&1_u16.to_le_bytes());
    assert!(!stranger.seal(NOW, address(1), &mut frame), "there is no session");
    let hello = stranger.poll_send().expect("it says something").1;
    assert_eq!(node.open(NOW, address(2), &mut hello.clone()), Err(DropCause::Cluster));
    let mismatch = node.poll_send().expect("it says something").1;
    assert_eq!(stranger.open(NOW, address(1), &mut mismatch.clone()), Err(DropCause::Cluster));
    for (side, cluster) in [(&mut stranger, CLUSTER), (&mut node, ELSEWHERE)] {
        assert_eq!(side.take_mismatch().expect("it is told").cluster, cluster);
    }
    [hello, mismatch]
}

#[test]
fn sealed_datagrams() {
    let [hello, welcome, finish, frame] = said();
    let [hello_elsewhere, mismatch] = said_to_another_cluster();
    let keys = session_keys(&finish);
    let meanings = [
        ("hello", hello, vec!["a client asks for a session, by key 1".into()]),
        ("welcome", welcome, vec!["node 1 answers, a second after its start".into()]),
        (
            "finish",
            finish,
            vec![
                "the client repeats the random bits of both".into(),
                format!("key of what the client sends: {}", hex(&keys[0])),
                format!("key of what the node sends: {}", hex(&keys[1])),
            ],
        ),
        ("hello-elsewhere", hello_elsewhere, vec!["node 2 of cluster prod-b greets node 1".into()]),
        ("mismatch", mismatch, vec!["node 1 says that it is of cluster quorate".into()]),
        (
            "read-get",
            frame,
            vec!["the frame `read-get`, sealed in this session by number 1".into()],
        ),
    ];
    let vectors: Vectors = meanings
        .into_iter()
        .map(|(name, bytes, meaning)| (name.into(), Vector { bytes, meaning }))
        .collect();
    document::check("sealed", &vectors);
}

fn expand(salt: &[u8], info: &[&[u8]]) -> Vec<u8> {
    let secret = sign(&Key::new(HMAC_SHA256, salt), &key());
    let info = [info.concat(), vec![1]].concat();
    sign(&Key::new(HMAC_SHA256, secret.as_ref()), &info).as_ref().to_vec()
}

fn session_keys(finish: &[u8]) -> [Vec<u8>; 2] {
    let salt = &finish[32..96];
    [[1], [2]].map(|direction| {
        expand(salt, &[b"quorate 1 session", &direction, &finish[..96], CLUSTER.as_bytes()])
    })
}

/// The document's vectors, read by nothing but what the document says.
#[test]
fn the_document_tells_how_to_open_a_sealed_frame() {
    let found = document::vectors("sealed");
    let of_cluster = [("hello", CLUSTER), ("welcome", CLUSTER), ("finish", CLUSTER)];
    for (name, cluster) in of_cluster.into_iter().chain(NAMED) {
        let tag_key = Key::new(HMAC_SHA256, &expand(b"quorate 1 handshake", &[cluster.as_bytes()]));
        let (vouched, tag) = found[name].bytes.split_at(96);
        assert_eq!(sign(&tag_key, vouched).as_ref(), tag, "{name}");
    }
    let name_key = Key::new(HMAC_SHA256, &expand(b"quorate 1 name", &[]));
    for (name, cluster) in NAMED {
        let said = &found[name].bytes;
        let cover = sign(&name_key, &said[..64]);
        let shown: Vec<u8> = said[64..96].iter().zip(cover.as_ref()).map(|(a, b)| a ^ b).collect();
        assert_eq!(shown[..cluster.len()], *cluster.as_bytes(), "{name}");
        assert!(shown[cluster.len()..].iter().all(|byte| *byte == 0), "{name}");
    }
    let [of_client, _] = session_keys(&found["finish"].bytes);
    let mut sealed = found["read-get"].bytes.clone();
    assert_eq!(sealed[56..60], found["finish"].bytes[64..68], "the session's number");
    let number = sealed.split_off(sealed.len() - 8);
    let (header, message) = sealed.split_at_mut(HEADER_BYTES);
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number);
    let opening = UnboundKey::new(&AES_256_GCM, &of_client).expect("it is a key");
    let opening = LessSafeKey::new(opening);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let opened = opening.open_in_place(nonce, Aad::from(&*header), message);
    assert_eq!(opened.expect("the seal is whole"), &question()[HEADER_BYTES..]);
    assert_eq!(header[..52], question()[..52]);
}

#[test]
fn a_node_opens_the_sealed_frame_of_the_document_once() {
    let (_, mut node) = sides();
    let found = document::vectors("sealed");
    let mut hear = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let opened = node.open(NOW, address(0), &mut bytes)?;
        Ok(opened.map(|opened| bytes[..opened.length].to_vec()))
    };
    let frame = &found["read-get"].bytes;
    assert_eq!(hear(frame), Err(DropCause::Session));
    assert_eq!(hear(&found["finish"].bytes), Ok(None));
    let mut broken = frame.clone();
    broken[HEADER_BYTES] ^= 1;
    assert_eq!(hear(&broken), Err(DropCause::Seal));
    let opened = hear(frame).expect("it is whole").expect("it is a frame");
    assert_eq!(
        readable::value(&super::decode(&opened)),
        readable::value(&super::decode(&question()))
    );
    assert_eq!(hear(frame), Err(DropCause::Replay));
}
