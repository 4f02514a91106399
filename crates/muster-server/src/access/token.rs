//! Tokens: `muster-user-ID-SECRET`. The id is no secret, by it a token is found and named; of the secret only
//! a digest is kept. It has 256 random bits, so that a fast digest is as good as a slow one.

use muster_api::trust::{hex, unhex};
use ring::rand::{SecureRandom as _, SystemRandom};

/// A token that was just made.
pub(super) struct Fresh {
    pub(super) id: String,
    pub(super) digest: [u8; 32],
    /// Told once.
    pub(super) text: String,
}

/// Makes one; `None` where the system gives no random numbers.
pub(super) fn fresh(prefix: &str) -> Option<Fresh> {
    let mut random = [0u8; 40];
    SystemRandom::new().fill(&mut random).ok()?;
    let (id, secret) = random.split_at(8);
    let id = hex(id);
    Some(Fresh {
        digest: *blake3::hash(secret).as_bytes(),
        text: format!("{prefix}{id}-{}", hex(secret)),
        id,
    })
}

/// Id and digest of a token that somebody sent; `None` if it has not the form of one.
pub(super) fn parse<'a>(prefix: &str, text: &'a str) -> Option<(&'a str, blake3::Hash)> {
    let (id, secret) = text.strip_prefix(prefix)?.split_once('-')?;
    let secret = unhex(secret).filter(|s| s.len() == 32)?;
    (id.len() == 16).then(|| (id, blake3::hash(&secret)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_again_by_its_id_and_digest() {
        let made = fresh("muster-user-").unwrap();
        let (id, digest) = parse("muster-user-", &made.text).unwrap();
        assert_eq!((id, digest.as_bytes()), (made.id.as_str(), &made.digest));
        assert!(!made.text.contains(&hex(&made.digest)), "what is kept is not what is told");
        assert_ne!(fresh("muster-user-").unwrap().text, made.text);
    }

    #[test]
    fn what_is_no_token_is_none() {
        let made = fresh("muster-user-").unwrap().text;
        for bad in [
            "",
            "muster-user-",
            &made[..made.len() - 2],
            &made[1..],
            &format!("{made}00"),
            "muster-user-é-00",
        ] {
            assert!(parse("muster-user-", bad).is_none(), "{bad}");
        }
        assert!(parse("muster-join-", &made).is_none(), "a user's token is none to join with");
    }
}
