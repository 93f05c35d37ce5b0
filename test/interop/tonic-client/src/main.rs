//! Calls a server with tonic, Rust's gRPC, and prints a line for each answer. The messages are written out, with the
//! fields that are used here, so that no protoc is needed.
//!
//!     tonic-client http://127.0.0.1:8500
use std::collections::HashMap;

use http::uri::PathAndQuery;
use prost::Message;
use tonic::client::Grpc;
use tonic::codec::{CompressionEncoding, ProstCodec};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

#[derive(Clone, PartialEq, Message)]
struct ModelSpec {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(int64, tag = "1")]
    size: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(message, repeated, tag = "2")]
    dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Tensor {
    #[prost(int32, tag = "1")]
    dtype: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
    #[prost(float, repeated, tag = "5")]
    float_val: Vec<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct PredictRequest {
    #[prost(message, optional, tag = "1")]
    model_spec: Option<ModelSpec>,
    #[prost(map = "string, message", tag = "2")]
    inputs: HashMap<String, Tensor>,
}

#[derive(Clone, PartialEq, Message)]
struct PredictResponse {
    #[prost(map = "string, message", tag = "1")]
    outputs: HashMap<String, Tensor>,
}

#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let target = std::env::args()
        .nth(1)
        .ok_or("usage: tonic-client http://HOST:PORT")?;
    let channel = Endpoint::from_shared(target)?.connect().await?;
    let plain = Grpc::new(channel.clone());
    let zipped = Grpc::new(channel.clone())
        .send_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Gzip);

    println!(
        "predict {:?}",
        predict(plain.clone(), "half_plus_two", vec![1.0, 2.0, 5.0]).await?
    );
    println!(
        "gzip {:?}",
        predict(zipped, "half_plus_two", vec![1.0, 2.0, 5.0]).await?
    );

    // Larger than every window, both ways.
    let values = predict(plain.clone(), "half_plus_two", vec![4.0; 900_000]).await?;
    println!(
        "large {} {}",
        values.len(),
        values.iter().all(|value| *value == 4.0)
    );

    let error = predict(plain.clone(), "nobody", vec![1.0])
        .await
        .expect_err("no such model");
    println!("error {:?} {}", error.code(), error.message());

    let mut watch = plain.clone();
    watch.ready().await?;
    let request = Request::new(HealthCheckRequest {
        service: String::new(),
    });
    let path = PathAndQuery::from_static("/grpc.health.v1.Health/Watch");
    let codec: ProstCodec<HealthCheckRequest, HealthCheckResponse> = ProstCodec::default();
    let mut states = watch
        .server_streaming(request, path, codec)
        .await?
        .into_inner();
    let first = states.message().await?.ok_or("the stream ended")?;
    println!("watch {}", first.status);
    drop(states); // resets the stream

    println!(
        "after {:?}",
        predict(plain, "half_plus_two", vec![0.0]).await?
    );
    Ok(())
}

async fn predict(
    mut grpc: Grpc<Channel>,
    model: &str,
    values: Vec<f32>,
) -> Result<Vec<f32>, Status> {
    grpc.ready()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let shape = Shape {
        dim: vec![Dimension {
            size: values.len() as i64,
        }],
    };
    let tensor = Tensor {
        dtype: 1,
        shape: Some(shape),
        float_val: values,
    };
    let request = PredictRequest {
        model_spec: Some(ModelSpec {
            name: model.to_string(),
        }),
        inputs: HashMap::from([("x".to_string(), tensor)]),
    };
    let path = PathAndQuery::from_static("/tensorflow.serving.PredictionService/Predict");
    let codec: ProstCodec<PredictRequest, PredictResponse> = ProstCodec::default();
    let response = grpc
        .unary(Request::new(request), path, codec)
        .await?
        .into_inner();
    Ok(response
        .outputs
        .get("y")
        .map(|tensor| tensor.float_val.clone())
        .unwrap_or_default())
}
