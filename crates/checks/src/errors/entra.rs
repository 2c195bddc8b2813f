//! Entra ID.

use crate::{errors::Row, facts::Step};

table! {
    // Entra ID. Source: "Microsoft Entra authentication and authorization error codes".
    "7002138" ENTRA [] ["AADSTS7002138"] [] Denied Trust Some("AZ05"),
        "the federated identity credential's subject differs from the token's in upper and lower case",
        "create the credential again with the subject in exactly the token's case";
    "7002381" ENTRA [] ["AADSTS7002381"] [] Denied Trust Some("AZ11"),
        "a policy of the tenant wants a claim that the token does not carry",
        "ask the tenant's administrator about the policy on federated credentials";
    "700211" ENTRA [] ["AADSTS700211"] [] Denied Trust Some("AZ03"),
        "no federated identity credential of the application has the token's issuer",
        "set the credential's issuer to the token's, byte for byte, trailing slash included";
    "7002121" ENTRA [] ["AADSTS7002121"] [] Denied Trust Some("AZ04"),
        "no federated identity credential of the application has the token's audience",
        "make the credential's audience and the token's the same";
    "700212" ENTRA [] ["AADSTS700212"] [] Denied Trust Some("AZ04"),
        "no federated identity credential of the application has the token's audience",
        "make the credential's audience and the token's the same";
    "7002131" ENTRA [] ["AADSTS7002131"] [] Denied Trust Some("AZ05"),
        "no expression of the application's federated identity credentials matches the token's subject",
        "use a credential with an exact subject; expressions are not for Kubernetes issuers";
    "700213" ENTRA [] ["AADSTS700213"] [] Denied Trust Some("AZ05"),
        "no federated identity credential of the application has the token's subject",
        "set the credential's subject to the token's, exactly";
    "70021" ENTRA [] ["AADSTS70021"] [] Denied Trust Some("AZ03"),
        "no federated identity credential of the application has this issuer, subject and audience",
        "compare the three values with the credentials; a new credential takes some minutes to spread";
    "700222" ENTRA [] ["AADSTS700222"] [] Denied Trust Some("TOK06"),
        "the token was issued by Entra itself, which does not federate with itself",
        "use the token of the Kubernetes ServiceAccount";
    "700223" ENTRA [] ["AADSTS700223" "AADSTS700238"] [] Denied Trust Some("AZ11"),
        "the tenant's policy forbids or restricts workload identity federation",
        "ask the tenant's administrator about the policy on federated credentials";
    "7002241" ENTRA [] ["AADSTS7002241" "AADSTS700233" "AADSTS700234" "AADSTS700235" "AADSTS700236" "AADSTS700237"] [] Denied Trust Some("AZ05"),
        "the federated identity credential matches by an expression, which does not work for this issuer or identity",
        "use a credential with an exact subject; expressions are not for Kubernetes issuers";
    "700227" ENTRA [] ["AADSTS700227"] [] Denied Trust Some("AZ04"),
        "Entra does not take federated tokens with this audience",
        "make the credential's audience and the token's the one that is recommended for this cloud";
    "700226" ENTRA [] ["AADSTS700226" "AADSTS7000226"] [] Denied Trust Some("AZ11"),
        "the application accepts federated tokens only under a special policy",
        "look at the application's policies, or use an identity of its own";
    "70025" ENTRA [] ["AADSTS70025"] [] Denied Trust Some("AZ03"),
        "the application has no federated identity credential at all",
        "create the credential on the identity that the client id names";
    "7000229" ENTRA [] ["AADSTS7000229"] [] Denied Request Some("AZ02"),
        "the application has no service principal in this tenant",
        "create the service principal in the tenant, or correct the tenant";
    "700016" ENTRA [] ["AADSTS700016"] [] Denied Request Some("AZ01"),
        "the tenant knows no application with this client id",
        "set the client id (not the object id) of an application or identity of this tenant";
    "7000112" ENTRA [] ["AADSTS7000112"] [] Denied Request Some("AZ11"),
        "the application is disabled",
        "enable sign-in for the service principal";
    "90002" ENTRA [] ["AADSTS90002"] [] Denied Request Some("AZ02"),
        "this cloud knows no such tenant",
        "correct the tenant id, or the authority host where the tenant lives in another cloud";
    "900023" ENTRA [] ["AADSTS900023"] [] Denied Request Some("AZ02"),
        "the tenant is neither an id nor a domain",
        "set the tenant's id";
    "900382" ENTRA [] ["AADSTS900382" "AADSTS900439" "AADSTS900440"] [] Denied Request Some("AZ08"),
        "authority and tenant belong to different clouds",
        "set AZURE_AUTHORITY_HOST to the authority of the tenant's cloud";
    "500011" ENTRA [] ["AADSTS500011"] [] Denied Trust Some("AZ13"),
        "the tenant does not know the resource of the scope",
        "ask for the resource of this cloud";
    "1002012" ENTRA [] ["AADSTS1002012" "AADSTS70011" "AADSTS28002"] [] Denied Request Some("AZ13"),
        "the scope is not in the form RESOURCE/.default",
        "ask for RESOURCE/.default";
    "900144" ENTRA [] ["AADSTS900144"] [] Denied Request Some("AZ09"),
        "the request lacks a parameter, so a variable is empty",
        "set all of AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_FEDERATED_TOKEN_FILE";
    "7000218" ENTRA [] ["AADSTS7000218"] [] Denied Request Some("TOK01"),
        "the request carried no assertion, so the token file is empty",
        "mount the projected token volume itself and pass its file unchanged";
    "50027" ENTRA [] ["AADSTS50027" "AADSTS5002727"] [] Denied Token Some("TOK01"),
        "what was sent is not a JWT that Entra can read",
        "mount the projected token volume itself and pass its file unchanged";
    "700024" ENTRA [] ["AADSTS700024"] [] Denied Token Some("TOK05"),
        "the token is outside its time by Entra's clock",
        "mount the projected token volume and read the file again before each exchange";
    "700027" ENTRA [] ["AADSTS700027"] [] Denied Token Some("ISS10"),
        "the token's signature does not fit a key that the issuer publishes",
        "publish the cluster's current JWKS; Entra keeps the old one for a while";
    "700021" ENTRA [] ["AADSTS700021"] [] Denied Trust Some("AZ03"),
        "Entra took the token for the application's own assertion",
        "compare the token's issuer with the client id and the federated identity credential";
    "90061" ENTRA [] ["AADSTS90061" "AADSTS50166" "AADSTS501661"] [] Denied Token Some("AZ14"),
        "Entra could not fetch the issuer's documents",
        "make discovery document and JWKS readable from the internet";
    "500133" ENTRA [] ["AADSTS500133"] [] Denied Token Some("TOK05"),
        "the token is outside its time by Entra's clock",
        "mount the projected token volume and read the file again before each exchange";
    "50013" ENTRA [] ["AADSTS50013"] [] Denied Token Some("ISS10"),
        "Entra could not validate the token's signature",
        "publish the cluster's current JWKS; Entra keeps the old one for a while";
    "7000215" ENTRA [] ["AADSTS7000215" "AADSTS7000222"] [] Denied Request Some("AZ10"),
        "a client secret was sent, and it is wrong or expired",
        "unset AZURE_CLIENT_SECRET so that the SDKs use the federated token";
    "53003" ENTRA [] ["AADSTS53003" "AADSTS530032" "AADSTS53005"] [] Denied Trust Some("AZ11"),
        "Conditional Access blocks the sign-in",
        "exclude the service principal from the policy, or allow the cluster's addresses";
    "500021" ENTRA [] ["AADSTS500021" "AADSTS500022" "AADSTS5000224" "AADSTS5000225" "AADSTS5000229"] [] Denied Request Some("AZ11"),
        "the tenant is blocked, deactivated or restricted",
        "ask the tenant's administrator";
    "50020" ENTRA [] ["AADSTS50020" "AADSTS50034"] [] Denied Request Some("AZ02"),
        "the identity does not belong to this tenant",
        "correct tenant or client id";
    "50196" ENTRA [] ["AADSTS50196" "AADSTS500531" "AADSTS90033" "AADSTS90055"] [] Transient Request None,
        "Entra is busy or throttles the client",
        "let SDKs keep their tokens; try again later";
    "90033" ENTRA [408 429 500 502 503 504] [] [] Transient Request None,
        "Entra is busy or throttles the client",
        "let SDKs keep their tokens; try again later";
}

const ENTRA: &[Step] = &[Step::EntraToken];

/// Rows that a trust object of the last minutes gives too, until it has spread.
pub(super) const SPREADING: &[&str] = &["70021", "700211", "700212", "700213", "70025"];
