//! The one door to the server: a request goes out, and its answer comes back with code and warnings.

use http::Request;
use kprov_schema::{Object, Status};
use kube::client::Body;
use serde_json::Value;

use super::Client;
use super::error::{ApiError, ClientError, trouble};

/// What the server answered to a request that it took.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: u16,
    /// The texts of its `Warning` headers.
    pub(super) warnings: Vec<String>,
    pub(super) body: Value,
}

impl Answer {
    /// The object that it is.
    pub(super) fn object(self, doing: &str) -> Result<Object, ClientError> {
        Object::try_from(self.body).map_err(|why| ClientError::Object { object: doing.to_owned(), why })
    }
}

impl Client {
    /// Sends a request. `doing` says what it is for, such as `create Pod default/web`.
    pub(super) async fn send(&self, doing: &str, request: Request<Vec<u8>>) -> Result<Answer, ClientError> {
        let failed = |error: kube::Error| self.failed(doing, error);
        let response = self.kube.send(request.map(Body::from)).await.map_err(failed)?;
        let code = response.status().as_u16();
        let warnings = response.headers().get_all("warning").iter();
        let warnings = warnings.filter_map(|value| warning(value.to_str().ok()?)).collect();
        let bytes = response.into_body().collect_bytes().await.map_err(failed)?;
        let body: Value = match serde_json::from_slice(&bytes) {
            Ok(body) => body,
            Err(_) if code >= 400 => Value::Null,
            Err(error) => return Err(failed(kube::Error::SerdeError(error))),
        };
        if code < 400 {
            return Ok(Answer { code, warnings, body });
        }
        let said = || String::from_utf8_lossy(&bytes).trim().chars().take(300).collect::<String>();
        let mut status = Status::from_json(&body).unwrap_or_else(|| Status::failure(code, "", said()));
        status.code = code;
        Err(self.refused(doing, status))
    }

    /// Reads a document.
    pub(super) async fn read(&self, doing: &str, path: &str) -> Result<Value, ClientError> {
        Ok(self.send(doing, self.get_request(doing, path)?).await?.body)
    }

    pub(super) fn get_request(&self, doing: &str, path: &str) -> Result<Request<Vec<u8>>, ClientError> {
        Request::get(path).body(Vec::new()).map_err(|error| self.failed(doing, kube::Error::HttpError(error)))
    }

    /// What kube makes of a call, in our words.
    pub(super) fn failed(&self, doing: &str, error: kube::Error) -> ClientError {
        match error {
            kube::Error::Api(status) => {
                let status = serde_json::to_value(&status).ok().and_then(|mut body| {
                    body["kind"] = Value::from("Status");
                    Status::from_json(&body)
                });
                let unknown = || Status::failure(500, "", "the answer can't be read");
                self.refused(doing, status.unwrap_or_else(unknown))
            }
            kube::Error::BuildRequest(why) => ClientError::Object { object: doing.to_owned(), why: why.to_string() },
            error => {
                let (why, next) = trouble(&error);
                let peer = Box::new(self.peer().clone());
                ClientError::Unreachable { doing: doing.to_owned(), peer, why, next, source: Box::new(error) }
            }
        }
    }

    fn refused(&self, doing: &str, status: Status) -> ClientError {
        ClientError::Api(Box::new(ApiError { doing: doing.to_owned(), peer: self.peer().clone(), status }))
    }
}

/// The text of a `Warning` header, `299 - "text"`.
fn warning(header: &str) -> Option<String> {
    let (_, rest) = header.split_once('"')?;
    let (text, _) = rest.rsplit_once('"')?;
    Some(text.replace("\\\"", "\"").replace("\\\\", "\\"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_unquoted() {
        assert_eq!(warning(r#"299 - "unknown field \"spec.x\"""#).as_deref(), Some(r#"unknown field "spec.x""#));
        assert_eq!(warning("299"), None);
    }
}
