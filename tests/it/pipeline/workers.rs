//! Several workers on one model: frames in flight side by side.

use super::*;

/// Does something before each batch.
struct Before {
    inner: Staged,
    first: Box<dyn FnMut() + Send>,
}

impl Engine for Before {
    fn kind(&self) -> String {
        self.inner.kind()
    }

    fn taps(&self) -> &[usize] {
        self.inner.taps()
    }

    fn stops_early(&self) -> bool {
        self.inner.stops_early()
    }

    fn run(&mut self, images: &[Tensor], n_taps: usize) -> Result<Tokens, EngineError> {
        (self.first)();
        self.inner.run(images, n_taps)
    }
}

/// Takes a time for each batch that nobody could guess, up to eight milliseconds.
fn moody(mut seed: u64) -> Box<dyn Engine> {
    let first = move || {
        // Numerical Recipes' generator.
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) % (1 << 32);
        std::thread::sleep(Duration::from_micros(seed % 8000));
    };
    Box::new(Before { inner: staged().0, first: Box::new(first) })
}

/// Tells with how many CPU threads it computes.
fn telling(inner: Staged, told: mpsc::Sender<i32>) -> Box<dyn Engine> {
    let first = move || told.send(tch::get_num_threads()).unwrap();
    Box::new(Before { inner, first: Box::new(first) })
}

/// An engine, what opens its gate, and how often it has run.
fn staged() -> (Staged, mpsc::Sender<()>, Arc<AtomicUsize>) {
    let (opening, gate) = mpsc::channel();
    let n_runs = Arc::<AtomicUsize>::default();
    (Staged { gate, n_left: usize::MAX, n_runs: Arc::clone(&n_runs) }, opening, n_runs)
}

#[test]
fn outputs_of_a_camera_keep_the_order_of_its_frames_whoever_is_faster() {
    const N: i32 = 400;
    // Basis and queries are shared: features, components and similarity of every frame are those of one model.
    let wanted = [Topic::Features, Topic::Pca, Topic::Reduced, Topic::Similarity];
    let mut rig = rig_of_engines(vec![moody(1), moody(2), moody(3)], 2, 1, &wanted);
    for sec in 1..=N {
        for camera in 0..2 {
            let offset = N * i32::try_from(camera).unwrap();
            rig.push(camera, offset + sec);
            rig.shared.queries[camera].ask([1.0, 1.0]);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    rig.settle();
    let (shared, stamps) = (rig.shared.clone(), Arc::clone(&rig.stamps));
    rig.stop();
    let stamps = stamps.lock().unwrap();
    for (camera, of) in shared.accounting.iter().enumerate() {
        let counts = of.snapshot();
        assert_eq!((counts.received, counts.refused, counts.unwanted), (N as u64, 0, 0), "{counts}");
        assert_eq!(counts.published + counts.displaced, N as u64, "{counts}");
        let offset = N * i32::try_from(camera).unwrap();
        let own: Vec<_> = stamps.iter().filter(|&&sec| offset < sec && sec <= offset + N).collect();
        assert_eq!(own.len() as u64, counts.published, "{counts}");
        assert!(own.is_sorted(), "{own:?}");
    }
}

#[test]
fn a_frame_that_a_newer_one_has_overtaken_is_displaced() {
    let ((one, open_one, n_one), (two, open_two, n_two)) = (staged(), staged());
    let mut rig = rig_of_engines(vec![Box::new(one), Box::new(two)], 1, 1, &[Topic::Features]);
    let ran = |n: &AtomicUsize| n.load(Ordering::Relaxed) == 1;
    rig.push(0, 1);
    wait_until("a worker has the first frame", || ran(&n_one) || ran(&n_two));
    let one_is_first = ran(&n_one);
    rig.push(0, 2);
    wait_until("the other has the second", || ran(&n_one) && ran(&n_two));
    let (first, second) = if one_is_first { (open_one, open_two) } else { (open_two, open_one) };
    drop(second);
    wait_until("the second is out", || rig.shared.accounting[0].snapshot().published == 1);
    drop(first);
    rig.settle();
    assert_eq!(*rig.stamps.lock().unwrap(), [2]);
    let counts = rig.shared.accounting[0].snapshot();
    assert_eq!((counts.received, counts.published, counts.displaced), (2, 1, 1), "{counts}");
    rig.stop();
}

#[test]
fn a_stop_finishes_what_every_worker_has_in_hand() {
    let ((one, open_one, n_one), (two, open_two, n_two)) = (staged(), staged());
    let mut rig = rig_of_engines(vec![Box::new(one), Box::new(two)], 2, 1, &[Topic::Features]);
    let n_runs = || n_one.load(Ordering::Relaxed) + n_two.load(Ordering::Relaxed);
    (0..2).for_each(|camera| rig.push(camera, 1));
    wait_until("both workers are busy", || n_runs() == 2);
    let (shared, stamps) = (rig.shared.clone(), Arc::clone(&rig.stamps));
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| rig.stop());
        drop((open_one, open_two));
        stopping.join().unwrap();
    });
    assert_eq!(*stamps.lock().unwrap(), [1, 1]);
    let counts: Vec<_> = shared.accounting.iter().map(|of| of.snapshot().published).collect();
    assert_eq!(counts, [1, 1]);
}

#[test]
fn a_frame_alone_has_all_threads_and_one_beside_it_a_share() {
    let (told, threads) = mpsc::channel();
    let ((one, open_one, _), (two, open_two, _)) = (staged(), staged());
    let mut rig =
        rig_of_engines(vec![telling(one, told.clone()), telling(two, told)], 1, 1, &[Topic::Features]);
    rig.push(0, 1);
    assert_eq!(threads.recv(), Ok(2));
    rig.push(0, 2);
    assert_eq!(threads.recv(), Ok(1));
    drop((open_one, open_two));
    let mut sec = 2;
    wait_until("a frame is alone again", || {
        sec += 1;
        rig.push(0, sec);
        threads.recv() == Ok(2)
    });
    rig.stop();
}

#[test]
fn one_worker_that_fails_ends_all_and_says_which() {
    let broken = Staged { n_left: 0, ..staged().0 };
    let mut rig = rig_of_engines(vec![Box::new(staged().0), Box::new(broken)], 1, 1, &[Topic::Features]);
    let mut sec = 0;
    wait_until("a stage has ended", || {
        sec += 1;
        rig.push(0, sec);
        rig.end.try_recv().is_ok()
    });
    rig.intakes.clear();
    let err = rig.pipeline.stop().unwrap_err().to_string();
    assert_eq!(err, "model-1: the model failed: out of memory");
}
