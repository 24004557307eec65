//! Just enough of Kafka's wire format to write what no client writes.

use std::io::{Read, Write};
use std::net::TcpStream;

/// A record with one header, whose value is `v`.
pub(super) struct Record<'a> {
    pub(super) header: &'a [u8],
    pub(super) value: &'a [u8],
}

/// A record batch in format 2, uncompressed.
pub(super) fn batch(records: &[Record<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(0u16.to_be_bytes());
    body.extend((records.len() as u32 - 1).to_be_bytes());
    body.extend([0; 16]);
    body.extend((-1i64).to_be_bytes());
    body.extend((-1i16).to_be_bytes());
    body.extend((-1i32).to_be_bytes());
    body.extend((records.len() as u32).to_be_bytes());
    for (n, record) in records.iter().enumerate() {
        let mut one = vec![0];
        varint(&mut one, 0);
        varint(&mut one, n as i64);
        varint(&mut one, -1);
        text(&mut one, record.value);
        varint(&mut one, 1);
        text(&mut one, record.header);
        text(&mut one, b"v");
        varint(&mut body, one.len() as i64);
        body.extend(one);
    }
    let mut batch = 0u64.to_be_bytes().to_vec();
    batch.extend((body.len() as u32 + 9).to_be_bytes());
    batch.extend((-1i32).to_be_bytes());
    batch.push(2);
    batch.extend(crc32c(&body).to_be_bytes());
    batch.extend(body);
    batch
}

/// Sends a batch, whatever is in it, and returns the broker's error code.
pub(super) fn produce(brokers: &str, topic: &str, partition: u32, batch: &[u8]) -> i16 {
    let mut request = Vec::new();
    // Produce, version 3; no client id, no transaction, all replicas, ten seconds.
    request.extend([0, 0, 0, 3, 0, 0, 0, 1, 255, 255, 255, 255, 255, 255]);
    request.extend(10_000u32.to_be_bytes());
    request.extend(1u32.to_be_bytes());
    request.extend((topic.len() as u16).to_be_bytes());
    request.extend(topic.as_bytes());
    request.extend(1u32.to_be_bytes());
    request.extend(partition.to_be_bytes());
    request.extend((batch.len() as u32).to_be_bytes());
    request.extend(batch);
    let mut stream = TcpStream::connect(brokers).expect("the broker listens");
    stream.write_all(&(request.len() as u32).to_be_bytes()).expect("the broker reads");
    stream.write_all(&request).expect("the broker reads");
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("the broker answers");
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).expect("the broker answers");
    // Correlation, topics, name, partitions, partition; then the code.
    let at = 4 + 4 + 2 + topic.len() + 4 + 4;
    i16::from_be_bytes([answer[at], answer[at + 1]])
}

fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    varint(out, bytes.len() as i64);
    out.extend(bytes);
}

fn varint(out: &mut Vec<u8>, n: i64) {
    let mut rest = ((n << 1) ^ (n >> 63)) as u64;
    while rest >= 128 {
        out.push(rest as u8 | 128);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}
