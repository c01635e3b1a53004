//! How plans travel. In: an operator or function of a plan. Out: bytes, of which another process of this version makes the same: ours as
//! JSON, all others as Ballista has them.

use std::sync::Arc;

use ballista_core::serde::BallistaPhysicalExtensionCodec;
use datafusion::common::{Result, exec_datafusion_err, internal_datafusion_err};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::ScalarUDF;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use tuwen_corpus::{Sink, SinkExec};
use tuwen_etl::fetch::{AskExec, AskPlan};
use tuwen_etl::functions::{Bound, bound_into};

/// What operators of ours begin with. No message of Protocol Buffers does: field numbers are not so large.
const OURS: &[u8] = b"\xfftuwen\xff";

/// What the JSON of ours begins with, and then a line feed: another version may have other rules for the same rows.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Ours, then Ballista's.
#[derive(Debug, Default)]
pub(crate) struct Codec {
    theirs: BallistaPhysicalExtensionCodec,
}

/// An operator of ours.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Operator {
    Sink(Sink),
    Ask(Box<AskPlan>),
}

impl PhysicalExtensionCodec for Codec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(json) = buf.strip_prefix(OURS) else {
            return self.theirs.try_decode(buf, inputs, ctx, converter);
        };
        let json = of_this_version(json)?;
        let input = inputs.first().cloned();
        let input =
            input.ok_or_else(|| internal_datafusion_err!("an operator without an input"))?;
        Ok(match serde_json::from_slice(json).map_err(external)? {
            Operator::Sink(sink) => Arc::new(SinkExec::new(input, sink)),
            Operator::Ask(ask) => Arc::new(AskExec::new(input, *ask)),
        })
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let sink = node.downcast_ref::<SinkExec>().map(|exec| Operator::Sink(exec.sink().clone()));
        let ask =
            node.downcast_ref::<AskExec>().map(|exec| Operator::Ask(Box::new(exec.plan().clone())));
        let Some(ours) = sink.or(ask) else {
            return self.theirs.try_encode(node, buf, converter);
        };
        buf.extend_from_slice(OURS);
        begin(buf);
        serde_json::to_writer(buf, &ours).map_err(external)
    }

    fn try_decode_udf(&self, name: &str, buf: &[u8]) -> Result<Arc<ScalarUDF>> {
        if buf.is_empty() {
            return self.theirs.try_decode_udf(name, buf);
        }
        let bound: Bound = serde_json::from_slice(of_this_version(buf)?).map_err(external)?;
        let function = bound.function(name);
        Ok(Arc::new(function.map_err(|error| DataFusionError::External(error.into()))?))
    }

    fn try_encode_udf(&self, node: &ScalarUDF, buf: &mut Vec<u8>) -> Result<()> {
        match bound_into(node) {
            Some(bound) => {
                begin(buf);
                buf.extend_from_slice(bound.as_bytes());
            }
            None => self.theirs.try_encode_udf(node, buf)?,
        }
        Ok(())
    }
}

fn begin(buf: &mut Vec<u8>) {
    buf.extend_from_slice(VERSION.as_bytes());
    buf.push(b'\n');
}

/// The JSON of `buf`, if a process of this version wrote it.
fn of_this_version(buf: &[u8]) -> Result<&[u8]> {
    let json = buf.strip_prefix(VERSION.as_bytes()).and_then(|json| json.strip_prefix(b"\n"));
    json.ok_or_else(|| {
        let version = buf.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let version: String = String::from_utf8_lossy(version).chars().take(20).collect();
        exec_datafusion_err!(
            "a plan of tuwen {version}: expected one of tuwen {VERSION}, which this machine has; hint: one build on all machines"
        )
    })
}

fn external(error: serde_json::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_version_wrote_is_refused() {
        let mut buf = Vec::new();
        begin(&mut buf);
        buf.extend_from_slice(b"{}");
        assert_eq!(of_this_version(&buf).unwrap(), b"{}");
        for other in ["0.0.9\n{}", "{}"] {
            let said = of_this_version(other.as_bytes()).unwrap_err().to_string();
            assert!(said.contains(VERSION), "{said}");
        }
        let other = format!("{VERSION}1\n{{}}");
        assert!(of_this_version(other.as_bytes()).is_err());
    }
}
