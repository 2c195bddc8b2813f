//! Two facts of an executable that `file` and `ldd` tell of this machine's alone: what runs it, and that nothing else is
//! needed. Offsets are those of a 64-bit file with the least significant byte first, as both architectures have them;
//! `man 5 elf` names them.

/// What is known of an executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Elf {
    /// In Go's words.
    pub(crate) architecture: &'static str,
    /// Whether it names no program that would have to load it.
    pub(crate) is_static: bool,
}

/// Reads them, where it is such a file.
pub(crate) fn read(content: &[u8]) -> Option<Elf> {
    if !content.starts_with(MAGIC) {
        return None;
    }
    let number = |at: usize, bytes: usize| -> Option<usize> {
        let field = content.get(at..at.checked_add(bytes)?)?;
        Some(
            field
                .iter()
                .rev()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
        )
    };
    let (first, size, count) = (number(0x20, 8)?, number(0x36, 2)?, number(0x38, 2)?);
    let mut is_static = true;
    for index in 0..count {
        is_static &= number(first.checked_add(index * size)?, 4)? != PT_INTERP;
    }
    Some(Elf {
        architecture: match number(0x12, 2)? {
            62 => "amd64",
            183 => "arm64",
            _ => "another",
        },
        is_static,
    })
}

const MAGIC: &[u8] = b"\x7fELF\x02\x01";
const PT_INTERP: usize = 3;

/// A file of a machine, with program headers of some types.
#[cfg(test)]
pub(crate) fn sample(machine: u16, types: &[u32]) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    file.resize(0x40, 0);
    file[0x12..0x14].copy_from_slice(&machine.to_le_bytes());
    file[0x20] = 0x40;
    file[0x36] = 0x38;
    file[0x38..0x3a].copy_from_slice(&u16::try_from(types.len()).unwrap().to_le_bytes());
    for kind in types {
        file.extend(kind.to_le_bytes());
        file.resize(file.len() + 0x34, 0);
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_and_linkage_are_read_from_the_headers() {
        let elf = |architecture, is_static| {
            Some(Elf {
                architecture,
                is_static,
            })
        };
        assert_eq!(read(&sample(62, &[1, 2])), elf("amd64", true));
        assert_eq!(read(&sample(183, &[1, 3])), elf("arm64", false));
        assert_eq!(read(&sample(40, &[])), elf("another", true));
    }

    #[test]
    fn what_is_no_executable_or_cut_off_is_none() {
        assert_eq!(read(b"#!/bin/sh"), None);
        let whole = sample(62, &[1, 2]);
        for length in [5, 0x13, 0x38, 0x41, 0x79] {
            assert_eq!(read(&whole[..length]), None, "{length}");
        }
    }
}
