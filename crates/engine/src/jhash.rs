//! Bob Jenkins' lookup3, as linux/jhash.h arranges it. Public domain algorithm
//! (burtleburtle.net/bob/c/lookup3.c).

const INITIAL: u32 = 0xdead_beef;

/// The hash of four words (`jhash2`).
pub(crate) fn jhash2(words: &[u32; 4], initial: u32) -> u32 {
    let [mut a, mut b, mut c] = [INITIAL.wrapping_add(4 << 2).wrapping_add(initial); 3];
    a = a.wrapping_add(words[0]);
    b = b.wrapping_add(words[1]);
    c = c.wrapping_add(words[2]);
    for (x, y, rotation) in [(0, 2, 4), (1, 0, 6), (2, 1, 8), (0, 2, 16), (1, 0, 19), (2, 1, 4)] {
        let mut state = [a, b, c];
        // mix: x -= y; x ^= rotl(y, r); y += the third.
        let third = 3 - x - y;
        state[x] = state[x].wrapping_sub(state[y]) ^ state[y].rotate_left(rotation);
        state[y] = state[y].wrapping_add(state[third]);
        [a, b, c] = state;
    }
    finish([a.wrapping_add(words[3]), b, c])
}

/// The hash of one word (`jhash_1word`).
pub(crate) fn jhash_1word(word: u32, initial: u32) -> u32 {
    let begin = INITIAL.wrapping_add(1 << 2).wrapping_add(initial);
    finish([begin.wrapping_add(word), begin, begin])
}

fn finish(mut state: [u32; 3]) -> u32 {
    for (x, y, rotation) in
        [(2, 1, 14), (0, 2, 11), (1, 0, 25), (2, 1, 16), (0, 2, 4), (1, 0, 14), (2, 1, 24)]
    {
        // final: x ^= y; x -= rotl(y, r).
        state[x] = (state[x] ^ state[y]).wrapping_sub(state[y].rotate_left(rotation));
    }
    state[2]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of lookup3's `hashword`, from an implementation written apart from this one. That the kernel
    /// chooses the same addresses is what scenarios/06i-address-by-hash.scenario shows.
    #[test]
    fn jhash_is_lookup3() {
        assert_eq!(jhash2(&[1, 2, 3, 4], 5), 0x7355_8c35);
        assert_eq!(jhash2(&[0; 4], 0), 0xbaf9_078c);
        assert_eq!(jhash2(&[0x0201_000a, 0, 0, 0], 0x0501_000a), 0x6952_91a4);
    }
}
