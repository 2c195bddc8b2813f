//! The table, asked of the evaluator.

use cwii_token::{Jwks, Token};
use cwii_trust::{
    JwksFact, Library,
    judge::{Question, judge},
};

use crate::{support::now, table};

#[test]
fn every_row_of_the_table_gets_the_verdict_and_the_text_of_sts() {
    let rows = table::rows();
    let mut wrong = Vec::new();
    for row in &rows {
        let mut library = Library::default();
        library.add("role.json", &row.role).unwrap();
        library.add("provider.json", &row.provider).unwrap();
        let jwks = Jwks::parse(row.jwks.to_string().as_bytes()).unwrap();
        let token = Token::decode(&row.token);
        let mut question = Question::new(token.as_ref(), JwksFact::Known(&jwks), now());
        question.session_name = Some(&row.session);
        let judgement = judge(&library, &question).unwrap();
        let error = judgement
            .error
            .as_ref()
            .map(|error| (error.code.clone(), error.message.clone()));
        if (judgement.allowed(), &error) != (row.allowed, &row.error) {
            wrong.push(format!("{}: {error:?}", row.name));
        }
        if let Some(rule) = &row.rule
            && *rule != judgement.decided_by.rule
        {
            wrong.push(format!("{}: decided by {}", row.name, judgement.decided_by));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(rows.len() >= 130, "{}", rows.len());
}

#[test]
fn no_two_rows_ask_the_same() {
    let rows = table::rows();
    let mut names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    names.sort_unstable();
    let before = names.len();
    names.dedup();
    assert_eq!(names.len(), before);
}
