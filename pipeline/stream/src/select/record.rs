//! The record of a selected example. In: an id and tokens. Out: the bytes that hold them in memory, and both again: the id,
//! the number of tokens, the tokens; numbers in LEB128 (seven bits a byte, the lowest first), so a token of a vocabulary of
//! 21,128 takes two bytes.

use anyhow::{Result, anyhow};

/// Appends a record to `records`.
///
/// # Errors
/// A token is negative.
pub(super) fn write(records: &mut Vec<u8>, id: u128, tokens: &[i64]) -> Result<()> {
    records.extend_from_slice(&id.to_le_bytes());
    write_number(records, tokens.len() as u64);
    for &token in tokens {
        let token =
            u64::try_from(token).map_err(|_| anyhow!("expected ids from 0 on, found {token}"))?;
        write_number(records, token);
    }
    Ok(())
}

/// The id of the record that `bytes` begin with; appends its tokens to `tokens`.
pub(super) fn read(bytes: &[u8], tokens: &mut Vec<i64>) -> u128 {
    let (id, mut rest) = bytes.split_first_chunk::<16>().expect("a record begins with its id");
    let n_tokens = read_number(&mut rest);
    tokens.extend((0..n_tokens).map(|_| read_number(&mut rest) as i64));
    u128::from_le_bytes(*id)
}

/// The number of tokens of the record that `bytes` begin with.
pub(super) fn n_tokens(bytes: &[u8]) -> u64 {
    read_number(&mut &bytes[size_of::<u128>()..])
}

fn write_number(records: &mut Vec<u8>, mut number: u64) {
    while number >= 128 {
        records.push(number as u8 | 128);
        number >>= 7;
    }
    records.push(number as u8);
}

/// Takes a number off the front of `bytes`.
fn read_number(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (&byte, rest) = bytes.split_first().expect("a record ends with a whole number");
        *bytes = rest;
        number |= u64::from(byte & 127) << shift;
        if byte < 128 {
            return number;
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_gives_back_what_went_in() {
        let mut records = Vec::new();
        let cases: [(u128, &[i64]); 4] = [
            (7, &[]),
            (u128::MAX, &[0, 1, 127, 128, 21_127]),
            (1 << 90, &[i64::MAX]),
            (0, &[101; 300]),
        ];
        let mut starts = Vec::new();
        for (id, tokens) in cases {
            starts.push(records.len());
            write(&mut records, id, tokens).unwrap();
        }
        for ((id, tokens), start) in cases.into_iter().zip(starts) {
            let mut read_tokens = vec![5];
            assert_eq!(read(&records[start..], &mut read_tokens), id);
            assert_eq!(read_tokens[1..], *tokens);
            assert_eq!(n_tokens(&records[start..]), tokens.len() as u64);
        }
        assert!(write(&mut records, 1, &[-1]).is_err());
    }
}
