"""The store on a Redis Cluster: `store` is the contract's side, `deciding` and `telling` go to the `nodes`."""
