//! What outputs cost on a GPU, by a double that counts.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tch::{Device, Kind, Tensor};

use super::*;
use crate::config::Upsampling;
use crate::engine::graph::{LaunchMode, OnGpu};
use crate::engine::head::HeadEngine;
use crate::engine::lane::Lane;
use crate::ffi::cuda::fake::Fake;
use crate::geometry::Size;
use crate::heads::{Head, HeadSet};
use crate::outputs::TABLE;
use crate::runtime::input_pixels::InputPool;
use crate::stages::camera::Header;
use crate::stages::forward::forward;

const SIZE: Size = Size { width: 256, height: 256 };
const TAPS: [usize; 4] = [2, 4, 6, 8];

/// Random tokens, as many as models/pixio-tiny has.
struct Random;

impl Engine for Random {
    fn kind(&self) -> String {
        "random".into()
    }

    fn taps(&self) -> &[usize] {
        &TAPS
    }

    fn stops_early(&self) -> bool {
        false
    }

    fn run(&mut self, _images: &[Tensor], _n_taps: usize) -> Result<Tokens, EngineError> {
        let tap = || Tensor::randn([1, 8 + 256, 192], (Kind::Float, Device::Cpu));
        Ok(Tokens { taps: TAPS.map(|_| tap()).into(), ..Tokens::default() })
    }
}

fn head(task: &str) -> HeadEngine {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("models/pixio-tiny/{task}.safetensors"));
    HeadEngine::new(Head::parse(&file, &std::fs::read(&file).unwrap(), Device::Cpu, Kind::Float).unwrap())
}

fn deriver() -> Deriver {
    let heads = HeadSet { depth: Some(head("depth")), segmentation: Some(head("segmentation")) };
    let card = ModelCard { name: "random".into(), revision: "0".into(), layer: 8, n_cls_tokens: 8 };
    Deriver::new(DeriverConfig {
        card: card.clone(),
        features_dtype: FeaturesDtype::Float16,
        reduced_channels: 16,
        common: Common { basis: Arc::new(BasisKeeper::new(None, card, None)), teaching: None },
        taps: TAPS.into(),
        dense: Dense::new(heads, Upsampling::default(), &TAPS).unwrap(),
        depth_resolution: DepthResolution::default(),
    })
}

fn input(pool: &InputPool) -> Input {
    let mut pixels = pool.lease();
    pixels.take(256 * 256 * 3).unwrap().fill(90);
    let (received, geometry) = (Instant::now(), Geometry::stretch(SIZE, SIZE));
    let header = Header::default();
    Input { header, camera: 0, received, fitted: received, pixels, geometry, intrinsics: None }
}

#[test]
fn any_outputs_of_a_frame_cost_one_copy_each_way_and_one_wait() {
    let fake = Fake::begin();
    let lane = Lane::new(fake.cuda(), 0, Device::Cpu).unwrap();
    let mut engine = OnGpu::new(Box::new(Random), lane, LaunchMode::Graph);
    let pool = InputPool::new(engine.host_memory());
    let mut deriver = deriver();
    deriver.ask(0, [100.0, 50.0]);
    let mut readback = Readback::new(engine.host_memory());
    let each = TABLE.iter().map(|output| Topics::from_iter([output.topic]));
    let all: Topics = TABLE.iter().map(|output| output.topic).collect();
    // The first frame makes the recordings.
    for (turn, wanted) in [all].into_iter().chain(each).chain([all]).enumerate() {
        let input = input(&pool);
        let n_taps = deriver.n_taps(wanted, 0, &input.geometry);
        fake.calls();
        if n_taps == 0 {
            continue;
        }
        let tokens = forward(&mut engine, &[&input], n_taps).unwrap();
        readback.begin();
        let queued = deriver.queue(&input, &tokens, wanted, &mut readback).unwrap();
        readback.wait(&engine).unwrap();
        let derived = deriver.finish(input, queued, DepthLimits::default()).unwrap();
        if wanted == all {
            assert!(derived.features.is_some() && derived.depth.is_some() && derived.labels.is_some());
            assert!(derived.embedding.is_some() && derived.similarity.is_some());
        }
        let calls = fake.calls();
        let n = |name: &str| calls.iter().filter(|call| *call == name).count();
        if 0 < turn {
            assert_eq!((n("upload"), n("download"), n("wait")), (1, 1, 1), "{wanted:?}: {calls:?}");
            assert_eq!((n("pinned"), n("begin"), n("copy"), n("empty_cache")), (0, 0, 0, 0), "{calls:?}");
        }
    }
}
