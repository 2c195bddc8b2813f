//! Examples of RFC 7515 and RFC 7517. Appendix A.4 signs a payload that is no JSON, so it stands beside the cryptography.

use cwii_token::{Jwks, SignatureError, Token, verify_signature};
use serde_json::{Value, json};

use crate::support::{jwks, p256_key, p384_key, p521_key, rsa_key, with};

#[test]
fn the_rs256_example_of_rfc_7515_verifies_with_its_key_alone() {
    verifies_with_its_key_alone(
        "eyJhbGciOiJSUzI1NiJ9",
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        rsa_key(),
        [p256_key(), p384_key(), p521_key()],
    );
}

#[test]
fn the_es256_example_of_rfc_7515_verifies_with_its_key_alone() {
    verifies_with_its_key_alone(
        "eyJhbGciOiJFUzI1NiJ9",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        p256_key(),
        [rsa_key(), p384_key(), p521_key()],
    );
}

#[test]
fn the_payload_of_rfc_7515_is_read() {
    let token = Token::decode(&format!("eyJhbGciOiJFUzI1NiJ9.{PAYLOAD}.DtEhU3ljbEg8")).unwrap();
    assert_eq!(token.claims.issuer(), Some("joe"));
    assert_eq!(
        token.claims.expires_at().map(jiff::Timestamp::as_second),
        Some(1_300_819_380)
    );
    assert_eq!(token.claims.members["http://example.com/is_root"], true);
}

#[test]
fn the_certificate_of_rfc_7517_is_of_its_key() {
    let flaws =
        |set: &Jwks| -> Vec<String> { set.hygiene().iter().map(ToString::to_string).collect() };
    assert_eq!(
        flaws(&jwks(&[certified_key()])),
        ["keys[0] `1b94c`: has `x5c`, which Google refuses in an uploaded set"]
    );
    let other = with(certified_key(), json!({"n": rsa_key()["n"]}));
    assert_eq!(
        flaws(&jwks(&[other]))[1],
        "keys[0] `1b94c`: the first certificate in `x5c` is not of this key"
    );
}

/// RFC 7517, appendix B.
pub(crate) fn certified_key() -> Value {
    json!({
        "kty": "RSA",
        "use": "sig",
        "kid": "1b94c",
        "n": "vrjOfz9Ccdgx5nQudyhdoR17V-IubWMeOZCwX_jj0hgAsz2J_pqYW08PLbK_PdiVGKPrqzmDIsLI7sA25VEnHU1uCLNwBuUiCO11_-7dYbsr4iJmG0Qu2j8DsVyT1azpJC_NG84Ty5KKthuCaPod7iI7w0LK9orSMhBEwwZDCxTWq4aYWAchc8t-emd9qOvWtVMDC2BXksRngh6X5bUYLy6AyHKvj-nUy1wgzjYQDwHMTplCoLtU-o-8SNnZ1tmRoGE9uJkBLdh5gFENabWnU5m1ZqZPdwS-qo-meMvVfJb6jJVWRpl2SUtCnYG2C32qvbWbjZ_jBPD5eunqsIo1vQ",
        "e": "AQAB",
        "x5c": ["MIIDQjCCAiqgAwIBAgIGATz/FuLiMA0GCSqGSIb3DQEBBQUAMGIxCzAJBgNVBAYTAlVTMQswCQYDVQQIEwJDTzEPMA0GA1UEBxMGRGVudmVyMRwwGgYDVQQKExNQaW5nIElkZW50aXR5IENvcnAuMRcwFQYDVQQDEw5CcmlhbiBDYW1wYmVsbDAeFw0xMzAyMjEyMzI5MTVaFw0xODA4MTQyMjI5MTVaMGIxCzAJBgNVBAYTAlVTMQswCQYDVQQIEwJDTzEPMA0GA1UEBxMGRGVudmVyMRwwGgYDVQQKExNQaW5nIElkZW50aXR5IENvcnAuMRcwFQYDVQQDEw5CcmlhbiBDYW1wYmVsbDCCASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoCggEBAL64zn8/QnHYMeZ0LncoXaEde1fiLm1jHjmQsF/449IYALM9if6amFtPDy2yvz3YlRij66s5gyLCyO7ANuVRJx1NbgizcAblIgjtdf/u3WG7K+IiZhtELto/A7Fck9Ws6SQvzRvOE8uSirYbgmj6He4iO8NCyvaK0jIQRMMGQwsU1quGmFgHIXPLfnpnfajr1rVTAwtgV5LEZ4Iel+W1GC8ugMhyr4/p1MtcIM42EA8BzE6ZQqC7VPqPvEjZ2dbZkaBhPbiZAS3YeYBRDWm1p1OZtWamT3cEvqqPpnjL1XyW+oyVVkaZdklLQp2Btgt9qr21m42f4wTw+Xrp6rCKNb0CAwEAATANBgkqhkiG9w0BAQUFAAOCAQEAh8zGlfSlcI0o3rYDPBB07aXNswb4ECNIKG0CETTUxmXl9KUL+9gGlqCz5iWLOgWsnrcKcY0vXPG9J1r9AqBNTqNgHq2G03X09266X5CpOe1zFo+Owb1zxtp3PehFdfQJ610CDLEaS9V9Rqp17hCyybEpOGVwe8fnk+fbEL2Bo3UPGrpsHzUoaGpDftmWssZkhpBJKVMJyf/RuP2SmmaIzmnw9JiSlYhzo4tpzd5rFXhjRbg4zW9C+2qok+2+qDM1iJ684gPHMIY8aLWrdgQTxkumGmTqgawR+N5MDtdPTEQ0XfIBc2cJEUyMTY5MPvACWpkA6SdS4xSvdXK3IVfOWA=="],
    })
}

fn verifies_with_its_key_alone(header: &str, signature: &str, key: Value, others: [Value; 3]) {
    let token = Token::decode(&format!("{header}.{PAYLOAD}.{signature}")).unwrap();
    let same_type = with(certified_key(), json!({"x5c": null}));
    let set = jwks(&[&[key, same_type][..], &others].concat());
    assert_eq!(verify_signature(&token, &set.keys[0]), Ok(()));
    for other in &set.keys[1..] {
        let error = verify_signature(&token, other).unwrap_err();
        let same_type = other.kty == set.keys[0].kty && other.members.get("crv").is_none();
        assert_eq!(error == SignatureError::Mismatch, same_type, "{other:?}");
    }
}

const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
