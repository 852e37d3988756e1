//! What is wrong with a webhook is told by `davy check`, with its place and without its secrets.

use davy::cli::OutputForm;
use davy::cli::exit::Exit;

use crate::config::{WEBHOOK, checked};
use crate::daemon::WALK;

#[test]
fn check_tells_what_serve_would_refuse_and_shows_nothing_secret() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("walk.yaml"), WALK).unwrap();
    std::fs::write(at("secret"), "hunter2").unwrap();
    let secret = format!("secret_file = {:?}", at("secret"));
    let url = "https://h.example.com/x";
    let cases = [
        (
            url,
            "http://169.254.169.254/T0KEN",
            "3:7: error: webhooks[0].url: the address is one of a metadata",
        ),
        (
            url,
            "https://h.example.com/T0KEN/{{chnge.id}}",
            "3:7: error: webhooks[0].url: a notification has no field `chnge.id`",
        ),
        (
            "secret_file",
            "headers = {webhook-foo = \"T0KEN\"}\nsecret_file",
            "5:26: error: webhooks[0].headers.webhook-foo: davy sets",
        ),
        (
            "secret_file",
            "body_template = \"{{verdct}}\"\nsecret_file",
            "5:17: error: webhooks[0].body_template: a notification has no",
        ),
        (
            "secret_file",
            "body_template = \"{{\"\nsecret_file",
            "5:17: error: webhooks[0].body_template: a placeholder is not",
        ),
        (
            "secret_file = \"/s\"",
            &secret,
            "5:15: error: webhooks[0].secret_file: the secret does not begin",
        ),
        (
            "name = \"w\"",
            "name = \"w.1\"",
            "2:8: error: webhooks[0].name: `w.1` cannot name",
        ),
        (
            "secret_file",
            "plans = [\"wlak\"]\nsecret_file",
            "5:10: warning: webhooks[0].plans[0]: no plan of the folder",
        ),
        (
            "https://h.example.com/x\"",
            "https://h.example.com/T0KEN",
            ": error: ",
        ),
    ];
    for (from, to, expected) in cases {
        let text = format!(
            "{}\n[plans]\ndirectory = {:?}\n",
            WEBHOOK.replacen(from, to, 1),
            folder.path()
        );
        std::fs::write(at("davy.toml"), text).unwrap();
        let (exit, report) = checked(&[at("davy.toml")], OutputForm::Text);
        assert!(
            report.contains(&format!("davy.toml:{expected}")) || expected == ": error: ",
            "{to}: {report}"
        );
        let warns = expected.contains("warning");
        assert_eq!(
            exit,
            if warns { Exit::Pass } else { Exit::Error },
            "{report}"
        );
        for hidden in ["hunter2", "T0KEN"] {
            assert!(
                !report.contains(hidden),
                "{to}: {hidden} is shown: {report}"
            );
        }
    }
}
