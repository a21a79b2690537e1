"""The search for hyper-parameters: trials judged on ratings held out of those given."""
