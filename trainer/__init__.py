"""The trainer: from clicks to a release that the worker serves. The only home of TensorFlow.

Clicks      events, files, topic, log (what `collect` keeps), times, cleaning
Sessions    sessions, data (all of that told), prepared, cache, features, held_out
Training    fit (the story), training, network, items, batches, losses, negatives, optimisers,
            checkpoints, warm (from a release), blend and priors, stream (window by window), backend (Keras)
Going on    periodic (the story), rounds (its decisions), makers (its trainings), gate, gauges (its metrics)
Measuring   evaluate, metrics, quality, baselines, neighbours, scoreboard, compare, report
Searching   tune, search, space, settings_file
Live        watch: the trial of a candidate, decided; sequential: the test that it is decided by
Out         publish: a release folder, written, read, and sent to Kafka; commands: a module each
Everywhere  config (what one may set), progress (what a person is told), errors
"""
