"""An exact subdivision: vertices evaluated, edges and cells cut, what has no area contracted, cells measured."""
