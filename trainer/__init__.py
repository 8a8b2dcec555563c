"""The trainer: from clicks to a release that the worker serves.

Imports run down this list and never up::

    commands      a module for each command
    continuous    retraining runs, the gate, one leader       tuning   search for settings
    experiment    which release wins on live clicks
    training      how a model is trained: the story is `training.fit`
    evaluation    how good a release is                       release  how it is packed and kept
    model         network, losses, optimizer, blend: the only home of TensorFlow
    dataset       sessions, hold-out, features, batches, counts, lists of items
    clicks        files, topic, archive: where clicks come from
    config, errors, console, files_on_disk
"""
