//! From the words of OpenAPI v3 to those of v2.

use serde_json::{Map, Value, json};

/// What v2 has no words for.
const UNKNOWN: &[&str] = &["default", "nullable", "anyOf", "oneOf", "not"];

/// A schema as v2 writes it.
pub(super) fn schema(schema: Value) -> Value {
    let Value::Object(mut schema) = schema else { return schema };
    if let Some(one) = either(&schema) {
        schema.extend(one);
    }
    let loose = schema.get("nullable") == Some(&Value::Bool(true))
        || schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    if loose {
        // Clients of v2 take the rest for all that there may be.
        ["type", "items", "properties", "additionalProperties"].iter().for_each(|word| drop(schema.remove(*word)));
    }
    for word in UNKNOWN {
        schema.remove(*word);
    }
    if let Some(Value::Array(parts)) = schema.remove("allOf") {
        let named = parts.into_iter().find_map(|mut part| part.get_mut("$ref").map(Value::take));
        schema.extend(named.map(|named| ("$ref".to_owned(), named)));
    }
    if let Some(Value::String(named)) = schema.get_mut("$ref") {
        *named = named.replace("#/components/schemas/", "#/definitions/");
    }
    for word in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(word) {
            *inner = self::schema(inner.take());
        }
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().for_each(|one| *one = self::schema(one.take()));
    }
    Value::Object(schema)
}

/// A text that may be a number is a text; other choices are open.
fn either(schema: &Map<String, Value>) -> Option<Map<String, Value>> {
    let choices = schema.get("oneOf")?.as_array()?;
    let text = choices.iter().any(|one| one["type"] == "string");
    text.then(|| [("type".to_owned(), json!("string"))].into_iter().collect())
}

/// A path with its operations as v2 writes it.
pub(super) fn path_item(item: Value) -> Value {
    let Value::Object(item) = item else { return item };
    let converted = item.into_iter().map(|(word, value)| {
        let value = if word == "parameters" { parameters(value) } else { operation(value) };
        (word, value)
    });
    Value::Object(converted.collect())
}

fn parameters(list: Value) -> Value {
    let Value::Array(list) = list else { return list };
    list.into_iter().map(parameter).collect()
}

/// What a parameter is stands in it, not in a schema below.
fn parameter(mut parameter: Value) -> Value {
    if let Some(mut schema) = parameter.as_object_mut().and_then(|map| map.remove("schema")) {
        parameter
            .as_object_mut()
            .into_iter()
            .for_each(|map| map.append(schema.as_object_mut().unwrap_or(&mut Map::new())));
    }
    parameter
}

fn operation(operation: Value) -> Value {
    let Value::Object(mut operation) = operation else { return operation };
    let mut list = operation.remove("parameters").map(parameters).unwrap_or_else(|| json!([]));
    if let Some(body) = operation.remove("requestBody") {
        let (media, schema) = content(body);
        let body = json!({"name": "body", "in": "body", "required": true, "schema": schema});
        list.as_array_mut().into_iter().for_each(|list| list.insert(0, body.clone()));
        operation.insert("consumes".to_owned(), media);
    }
    if list.as_array().is_some_and(|list| !list.is_empty()) {
        operation.insert("parameters".to_owned(), list);
    }
    if let Some(Value::Object(responses)) = operation.get_mut("responses") {
        let mut produces = Value::Null;
        for response in responses.values_mut() {
            let described = response["description"].take();
            let (media, schema) = content(response.take());
            *response = json!({"description": described});
            if !schema.is_null() {
                response["schema"] = schema;
                produces = media;
            }
        }
        if !produces.is_null() {
            operation.insert("produces".to_owned(), produces);
        }
    }
    Value::Object(operation)
}

/// The media types of a content, and the schema, which is the same for all.
fn content(mut holder: Value) -> (Value, Value) {
    let Some(Value::Object(content)) = holder.as_object_mut().and_then(|map| map.remove("content")) else {
        return (Value::Null, Value::Null);
    };
    let media: Vec<String> = content.keys().cloned().collect();
    let first = content.into_iter().next().map(|(_, mut one)| one["schema"].take()).unwrap_or_default();
    (json!(media), schema(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_are_said_in_the_words_of_v2() {
        let named = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
        for (given, wanted) in [
            (
                json!({"allOf": [named("A")], "default": {}, "x-kubernetes-patch-strategy": "retainKeys"}),
                json!({"$ref": "#/definitions/A", "x-kubernetes-patch-strategy": "retainKeys"}),
            ),
            (
                json!({"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"}),
                json!({"type": "string", "format": "int-or-string"}),
            ),
            (json!({"oneOf": [named("A"), {"type": "boolean"}]}), json!({})),
            (
                json!({"type": "array", "items": {"allOf": [named("A")]}}),
                json!({"type": "array", "items": {"$ref": "#/definitions/A"}}),
            ),
            (
                json!({"type": "object", "properties": {"a": {"type": "string", "nullable": true}}}),
                json!({"type": "object", "properties": {"a": {}}}),
            ),
            (
                json!({"type": "object", "properties": {"a": {}}, "x-kubernetes-preserve-unknown-fields": true}),
                json!({"x-kubernetes-preserve-unknown-fields": true}),
            ),
        ] {
            assert_eq!(schema(given), wanted);
        }
    }

    #[test]
    fn bodies_are_parameters() {
        let schema = json!({"$ref": "#/components/schemas/A"});
        let given = json!({"post": {
            "parameters": [{"name": "dryRun", "in": "query", "schema": {"type": "string", "uniqueItems": true}}],
            "requestBody": {"content": {"*/*": {"schema": schema}}},
            "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": schema}}}},
        }});
        let own = json!({"$ref": "#/definitions/A"});
        assert_eq!(
            path_item(given),
            json!({"post": {
                "consumes": ["*/*"], "produces": ["application/json"],
                "parameters": [
                    {"name": "body", "in": "body", "required": true, "schema": own},
                    {"name": "dryRun", "in": "query", "type": "string", "uniqueItems": true},
                ],
                "responses": {"200": {"description": "OK", "schema": own}},
            }})
        );
    }
}
