//! A program may have chosen cryptography for jsonwebtoken before this crate is used. Its own process, since the choice
//! is one per process.

use cwii_token::{Jwks, SignatureError, Token, verify_signature};
use jsonwebtoken::{
    crypto::{CryptoProvider, KeyUtils},
    errors::ErrorKind,
};

static REFUSES: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: |_, _| Err(ErrorKind::Provider("the program's own".to_owned()).into()),
    key_utils: KeyUtils::new_unimplemented(),
};

#[test]
fn a_provider_that_is_installed_already_is_used_not_fought() {
    REFUSES.install_default().unwrap();
    // {"alg":"ES256"}, with the key of RFC 7515, appendix A.3.
    let token = Token::decode("eyJhbGciOiJFUzI1NiJ9.e30.c2ln").unwrap();
    let set = Jwks::parse(
        br#"{"keys":[{"kty":"EC","crv":"P-256",
            "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#,
    )
    .unwrap();
    for _ in 0..2 {
        match verify_signature(&token, &set.keys[0]) {
            Err(SignatureError::UnusableKey { detail }) => {
                assert!(detail.contains("the program's own"), "{detail}");
            }
            other => panic!("expected the provider's error, found {other:?}"),
        }
    }
}
